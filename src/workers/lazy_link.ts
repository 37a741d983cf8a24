/**
 * Links whose code is loaded when the first worker starts: a program that never uses a pool does not load what pools
 * need.
 *
 * @module
 */
import { detached } from "../host/microtask.ts";
import type {
  JobSpec,
  LinkEnd,
  LinkListener,
  LinkStarter,
  WorkerLink,
} from "./link.ts";

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
  readonly #listener: LinkListener;
  #link: WorkerLink | null = null;
  /** Whether it has ended, or is about to, without a link. */
  #isOver = false;

  constructor(load: () => Promise<LinkStarter>, listener: LinkListener) {
    this.#listener = listener;
    detached(() => {
      load().then(
        (start) => {
          if (!this.#isOver) this.#link = start(listener);
        },
        (cause) => this.end("start", cause),
      );
    });
  }

  /** Ends without a link, and does not wait for the code, which may never come. */
  end(kind: LinkEnd["kind"], cause: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    detached(() => this.#listener.ended({ kind, exitCode: null, cause }));
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
    else this.end("closed", undefined);
  }

  kill(): void {
    if (this.#link !== null) this.#link.kill();
    else this.end("killed", undefined);
  }

  cpuMs(): number {
    return this.#link?.cpuMs() ?? NaN;
  }

  livesOn(): boolean | undefined {
    return this.#link === null ? false : this.#link.livesOn();
  }
}
