/**
 * Links whose code is loaded when the first worker starts: a program that never uses a pool does not load what pools
 * need.
 *
 * @module
 */
import { detached } from "../host/microtask.ts";
import type { JobSpec, LinkListener, LinkStarter, WorkerLink } from "./link.ts";

/**
 * Makes a starter that loads another one, once, for the first worker.
 *
 * @param load Returns the starter. Called again for the next worker if it failed.
 */
export function lazyStarter(load: () => Promise<LinkStarter>): LinkStarter {
  let starter: LinkStarter | null = null;
  let loading: Promise<LinkStarter> | null = null;
  const loadOnce = async (): Promise<LinkStarter> => {
    loading ??= load();
    try {
      return starter = await loading;
    } finally {
      loading = null;
    }
  };
  return (listener) => starter?.(listener) ?? new LazyLink(loadOnce, listener);
}

/** A link that waits for its code. Its pool sends nothing before `ready`, but may give it up. */
class LazyLink implements WorkerLink {
  #link: WorkerLink | null = null;
  /** How the pool gave it up. */
  #over: "closed" | "killed" | null = null;

  constructor(load: () => Promise<LinkStarter>, listener: LinkListener) {
    detached(() => {
      load().then(
        (start) => this.start(start, listener),
        (cause) => listener.ended({ kind: "start", exitCode: null, cause }),
      );
    });
  }

  start(start: LinkStarter, listener: LinkListener): void {
    const kind = this.#over;
    if (kind === null) this.#link = start(listener);
    else listener.ended({ kind, exitCode: null, cause: undefined });
  }

  send(job: JobSpec): void {
    this.#link?.send(job);
  }

  abort(id: number, reason: unknown): void {
    this.#link?.abort(id, reason);
  }

  ping(): void {
    this.#link?.ping();
  }

  close(): void {
    if (this.#link !== null) this.#link.close();
    else this.#over ??= "closed";
  }

  kill(): void {
    if (this.#link !== null) this.#link.kill();
    else this.#over = "killed";
  }

  cpuMs(): number {
    return this.#link?.cpuMs() ?? NaN;
  }

  livesOn(): boolean | undefined {
    return this.#link === null ? false : this.#link.livesOn();
  }
}
