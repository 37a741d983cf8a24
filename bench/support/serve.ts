/**
 * `serve` beside a bare `Deno.serve`: `deno run -A bench/support/serve.ts`.
 *
 * wrk sends requests to both, a second each by turns: to a handler that answers at once, to one that reads a
 * file, and to Hono. Then ten times as many clients as the limit lets in, each of which pauses for as long as a request
 * takes: what was accepted must not wait for long.
 *
 * @module
 */
import { childScript, outputOf, outputOfDeno } from "./child.ts";
import { type Figure, figure, percentile, printFigures } from "./report.ts";
import type { Role } from "./suite.ts";

const ROUNDS = 7;
const CONNECTIONS = 32;
const WORKLOADS: Readonly<Record<string, string>> = {
  answer: "HTTP answer at once",
  file: "HTTP answer with a file",
  hono: "HTTP answer by Hono",
};
const SERVERS: readonly [string, string, Role][] = [
  ["bare", "Deno.serve", "limit"],
  ["rota", "Rota", "rota"],
];

/** A server in a process of its own. */
class ServerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly port: number;

  private constructor(child: Deno.ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(who: string, workload: string): Promise<ServerProcess> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", childScript("serve.ts"), who, workload],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    return new ServerProcess(child, Number(new TextDecoder().decode(value)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.stdout.cancel();
    await this.#child.status;
  }
}

/** Microseconds from one response to the next, as wrk finds them. */
async function wrk(port: number): Promise<number> {
  const printed = await outputOf("wrk", [
    "-t1",
    `-c${CONNECTIONS}`,
    "-d1s",
    `http://127.0.0.1:${port}/`,
  ]);
  const perSecond = /Requests\/sec:\s+([\d.]+)/.exec(printed)?.[1];
  if (perSecond === undefined || printed.includes("Non-2xx")) {
    throw new Error(`wrk found errors: ${printed}`);
  }
  return 1e6 / Number(perSecond);
}

async function measureThroughput(
  name: string,
  rounds: number,
): Promise<Figure[]> {
  await using stack = new AsyncDisposableStack();
  const servers: ServerProcess[] = [];
  for (const [who] of SERVERS) {
    servers.push(stack.use(await ServerProcess.start(who, name)));
  }
  const times: number[][] = SERVERS.map(() => []);
  if (rounds > 1) { for (const { port } of servers) await wrk(port); } // warm up
  for (let round = 0; round < rounds; round++) {
    for (const [index, { port }] of servers.entries()) {
      times[index]!.push(await wrk(port));
    }
  }
  return SERVERS.map(([, label, role], index) =>
    figure({
      workload: WORKLOADS[name]!,
      case: label,
      role,
      measure: "time",
      unit: "us",
    }, times[index]!)
  );
}

interface Load {
  readonly acceptedUs: number[];
  readonly refused: number;
}

async function load(
  port: number,
  connections: number,
  requests: number,
): Promise<Load> {
  const args = [port, connections, requests, 10].map(String);
  const printed = await outputOfDeno(childScript("http_load.ts"), args);
  const result: Load = JSON.parse(printed);
  const { acceptedUs, refused } = result;
  if (acceptedUs.length + refused !== requests) {
    throw new Error(`${requests} requests, but ${printed}`);
  }
  return result;
}

/** How long accepted requests take with half as many clients as the limit, and with ten times as many. */
async function measureOverload(
  requests: number,
  rounds: number,
): Promise<Figure[]> {
  await using server = await ServerProcess.start("rota", "overload");
  const p99: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const calm = await load(server.port, 8, requests);
    const over = await load(server.port, 160, 4 * requests);
    if (calm.refused > 0) throw new Error("A calm server refused a request");
    if (over.refused === 0) throw new Error("The server was not overloaded");
    p99[0].push(percentile(calm.acceptedUs, 99));
    p99[1].push(percentile(over.acceptedUs, 99));
  }
  return ["half the limit", "ten times the limit"].map((label, index) =>
    figure({
      workload: "HTTP overload",
      case: label,
      role: index === 0 ? "limit" : "rota",
      measure: "p99",
      unit: "us",
    }, p99[index]!)
  );
}

/** Measures everything, or only the workloads named. */
export async function measureServe(
  rounds: number = ROUNDS,
  names: readonly string[] = [...Object.keys(WORKLOADS), "overload"],
  requests: number = 1_000,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const name of names) {
    figures.push(
      ...name === "overload"
        ? await measureOverload(requests, Math.min(rounds, 3))
        : await measureThroughput(name, rounds),
    );
  }
  return figures;
}

if (import.meta.main) {
  const names = Deno.args.filter((word) => !word.startsWith("-"));
  printFigures(
    await measureServe(ROUNDS, names.length > 0 ? names : undefined),
  );
}
