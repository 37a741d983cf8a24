/**
 * Worker processes of fleets, for the proofs on real servers.
 *
 * @module
 */
import type { ServerProcess } from "../../support/server_process.ts";

/** Lease of all workers. */
export const LEASE_MS = 600;

/** Workers that live at a time while some are killed. */
const ALIVE = 10;

/** A worker process, and the lines that it prints. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #read: Promise<void>;
  #wake = Promise.withResolvers<void>();
  #isOver = false;

  constructor(
    store: "bullmq" | "jetstream",
    server: ServerProcess,
    place: "loop" | "threads",
    mode: string,
  ) {
    const script = new URL("./fleet_worker.ts", import.meta.url);
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", script.pathname],
        ...[String(server.port), String(LEASE_MS), place, mode, store],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#read = this.#readLines();
  }

  async #readLines(): Promise<void> {
    let text = "";
    const decoded = this.#process.stdout.pipeThrough(new TextDecoderStream());
    for await (const chunk of decoded) {
      const lines = (text + chunk).split("\n");
      text = lines.pop()!;
      this.#lines.push(...lines);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
    this.#isOver = true;
    this.#wake.resolve();
  }

  /** Waits for so many lines that begin with a word; returns them. */
  async lines(word: string, count = 1): Promise<string[]> {
    for (;;) {
      const found = this.#lines.filter((line) => line.startsWith(word));
      if (found.length >= count) return found;
      if (this.#isOver) throw new Error(`The child ended without "${word}"`);
      await this.#wake.promise;
    }
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Has it shut down. */
  async hangUp(): Promise<void> {
    await this.#process.stdin.close();
  }

  /** Has it shut down; returns its exit code. */
  async end(): Promise<number> {
    await this.hangUp();
    const { code } = await this.#process.status;
    await this.#read;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
    await this.#read;
  }
}

/**
 * Kills a worker by SIGKILL as soon as it has begun with a job, so many times, and
 * starts others meanwhile. Returns what the killed ones had begun, as lines.
 */
export async function killWorkers(
  store: "bullmq" | "jetstream",
  server: ServerProcess,
  kills: number,
): Promise<string[]> {
  const begun: string[] = [];
  const alive = new Map<Child, Promise<[Child, string]>>();
  try {
    while (begun.length < kills) {
      while (alive.size < Math.min(ALIVE, kills - begun.length)) {
        const child = new Child(store, server, "loop", "hold");
        const first = child.lines("began").then(([line]) => [child, line!]);
        alive.set(child, first as Promise<[Child, string]>);
      }
      const [child, line] = await Promise.race(alive.values());
      child.kill();
      begun.push(line);
      alive.delete(child);
      await child[Symbol.asyncDispose]();
    }
  } finally {
    for (const [child, first] of alive) {
      first.catch(() => {}); // it ends before it has begun
      await child[Symbol.asyncDispose]();
    }
  }
  return begun;
}
