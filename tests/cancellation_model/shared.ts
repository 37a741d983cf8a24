/**
 * What all tasks of a program share, and whether everything is back at the end.
 *
 * @module
 */
import {
  Channel,
  Condition,
  type Coroutine,
  type EventLoop,
  Flag,
  Lock,
  Queue,
  Semaphore,
  sleep,
} from "../../mod.ts";

/** Locks, queues and resources of one run. */
export class Shared {
  readonly lock = new Lock();
  readonly semaphore = new Semaphore(2);
  readonly condition = new Condition();
  readonly queue = new Queue<number>(2);
  readonly channel = new Channel<number>();
  /** Set when nobody has to wait any more. */
  readonly never = new Flag();
  readonly taken = { put: 0, got: 0, sent: 0, received: 0 };
  readonly resources: { disposed: number; name: string }[] = [];
  /** How many are inside of the lock. */
  inside = 0;
  /** Whether the program has ended. */
  over = false;

  /** From now on nobody has to wait any more. */
  release(loop: EventLoop): void {
    if (this.over) return;
    this.never.set();
    this.queue.shutdown();
    this.channel.close();
    loop.createTask(() => this.#notify());
  }

  *#notify(): Coroutine<void> {
    while (!this.over) {
      const permit = yield* this.condition.acquire();
      this.condition.notifyAll();
      permit.release();
      yield* sleep(5);
    }
  }

  /** Everything that was lent has come back, and everything is somewhere. */
  count(say: (what: string) => void): void {
    const { put, got, sent, received } = this.taken;
    if (this.lock.locked()) say("the lock was not given back");
    if (this.semaphore.value !== 2) {
      say(`the semaphore has ${this.semaphore.value} of 2`);
    }
    if (put - got !== this.queue.size) {
      say(`${put} were put, ${got} got, ${this.queue.size} are in the queue`);
    }
    if (sent - received !== this.channel.size) {
      say(`${sent} were sent, ${received} received`);
    }
    for (const { name, disposed } of this.resources) {
      if (disposed !== 1) say(`${name} was disposed of ${disposed} times`);
    }
  }
}
