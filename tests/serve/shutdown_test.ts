/**
 * SIGTERM in the middle of everything: what was accepted is answered, within the budget, and the exit code is right.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { ROOT } from "../support/run_deno.ts";
import { RawClient } from "./support.ts";

const BUDGET_MS = 4_000;

/** The service in a process of its own. */
class Service implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  /** What it has printed on standard error: errors, and warnings of the runtime. */
  readonly stderr: Promise<string>;
  printed = "";

  constructor() {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        new URL("tests/serve/children/service.ts", ROOT).href,
        String(BUDGET_MS),
      ],
      cwd: ROOT,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.stderr = new Response(this.#child.stderr).text();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  async port(): Promise<number> {
    const { value } = await this.#reader.read();
    return Number(value);
  }

  terminate(): void {
    this.#child.kill("SIGTERM");
  }

  /** Waits for its end, and returns its exit code. */
  async ended(): Promise<number> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.printed += value;
    }
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.stderr;
    await this.#reader.cancel();
  }
}

async function get(url: string): Promise<string> {
  const response = await fetch(url);
  return `${response.status} ${await response.text()}`;
}

/** Sends a request and returns all that is answered until the connection ends. */
async function exchange(port: number, path: string): Promise<string> {
  using client = await RawClient.connect(port);
  await client.request(path);
  return await client.readAll();
}

/** Load of wrk for a while; null where it is not installed. */
async function wrk(port: number): Promise<string | null> {
  try {
    const { stdout } = await new Deno.Command("wrk", {
      args: ["-t1", "-c16", "-d2s", `http://127.0.0.1:${port}/`],
    }).output();
    return new TextDecoder().decode(stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("wrk is not installed: the test goes on without its load");
    return null;
  }
}

Deno.test("SIGTERM under load: slow requests, an event stream, half-sent requests, a mute WebSocket, background work", async () => {
  await using service = new Service();
  const port = await service.port();
  const url = `http://127.0.0.1:${port}`;
  assertEquals(await get(`${url}/ready`), "200 ok");
  assertEquals(await get(`${url}/background`), "200 ok");
  const load = wrk(port);
  const events = exchange(port, "/events");
  using half = await RawClient.connect(port);
  await half.send("GET /ha");
  using upload = await RawClient.connect(port);
  await upload.send(
    "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
  );
  using socket = await RawClient.connect(port);
  await socket.upgrade("/socket");
  assert((await socket.read()).startsWith("HTTP/1.1 101"));
  const slow = Array.from({ length: 5 }, () => get(`${url}/slow`));
  await get(url);

  const begin = performance.now();
  service.terminate();
  // Readiness says so first; requests are still taken during the delay.
  let ready = "";
  while (!ready.startsWith("503")) ready = await get(`${url}/ready`);
  assertEquals(ready, "503 closing");
  assertEquals(await get(`${url}/live`), "200 ok");
  assertEquals(await get(url), "200 ok");

  assertEquals(await Promise.all(slow), slow.map(() => "200 slow"));
  assert((await events).includes("data: bye\n\n"), await events);
  const frames = await socket.readAll();
  assertEquals(frames.codePointAt(1), 2, "a close frame with a code");
  assertEquals(await half.readAll(), "");
  assert((await upload.readAll()).startsWith("HTTP/1.1 503"));
  const code = await service.ended();
  const tookMs = performance.now() - begin;
  assertEquals(code, 0, service.printed);
  assertEquals(await service.stderr, "");
  assert(tookMs < BUDGET_MS + 500, `${tookMs} ms`);
  assert(service.printed.includes("background done"), service.printed);
  assert(service.printed.includes("lifespan over"), service.printed);
  const output = await load;
  if (output !== null) {
    assert(/\d+ requests in/.test(output), output);
    assert(!/timeout [1-9]/.test(output), output); // nothing that was accepted is left without an answer
  }
});

Deno.test("SIGTERM of a service that has nothing to do ends at once", async () => {
  await using service = new Service();
  const port = await service.port();
  using idle = await RawClient.connect(port);
  await idle.request("/");
  assert((await idle.read()).startsWith("HTTP/1.1 200"));
  service.terminate();
  assertEquals(await idle.readAll(), "");
  assertEquals(await service.ended(), 0, service.printed);
  assert(service.printed.includes("served"), service.printed);
});
