/**
 * Operations that find everything ready when a cancellation is due.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  CancelScope,
  cancelScope,
  Channel,
  Condition,
  currentTask,
  Flag,
  getRunningLoop,
  Lock,
  moveOnAfter,
  type Operation,
  Queue,
  Semaphore,
  sleep,
  taskGroup,
  timeout,
  until,
  wait,
} from "../../mod.ts";
import { as, MIXES, outcomeOf, wrong } from "../support/mixed_styles.ts";
import type { Body } from "../support/cancelling.ts";

interface Ready {
  /** Makes something ready, an operation on it, and a look at whether it was taken. */
  readonly make: () => {
    operation: () => Operation<unknown>;
    untouched: () => boolean;
  };
  readonly wanted: [boolean, boolean];
}

const always = () => true;
const READY: Record<string, Ready["make"]> = {
  "Queue.get": () => {
    const queue = new Queue<number>();
    queue.putNowait(1);
    return { operation: () => queue.get(), untouched: () => queue.size === 1 };
  },
  "Queue.put": () => {
    const queue = new Queue<number>(1);
    return { operation: () => queue.put(1), untouched: () => queue.empty() };
  },
  "Queue.join": () => ({
    operation: () => new Queue<number>().join(),
    untouched: always,
  }),
  "Lock.acquire": () => {
    const lock = new Lock();
    return { operation: () => lock.acquire(), untouched: () => !lock.locked() };
  },
  "Semaphore.acquire": () => {
    const semaphore = new Semaphore(1);
    return {
      operation: () => semaphore.acquire(),
      untouched: () => semaphore.value === 1,
    };
  },
  "Condition.acquire": () => {
    const condition = new Condition();
    return {
      operation: () => condition.acquire(),
      untouched: () => !condition.locked(),
    };
  },
  "Flag.wait": () => {
    const flag = new Flag();
    flag.set();
    return { operation: () => flag.wait(), untouched: always };
  },
  "Channel.receive": () => {
    const channel = new Channel<number>({ capacity: 1 });
    channel.trySend(1);
    return {
      operation: () => channel.receive(),
      untouched: () => channel.size === 1,
    };
  },
  "Channel.send": () => {
    const channel = new Channel<number>({ capacity: 1 });
    return {
      operation: () => channel.send(1),
      untouched: () => channel.size === 0,
    };
  },
  "sleep(0)": () => ({ operation: () => sleep(0), untouched: always }),
  "until a promise that is settled": () => ({
    operation: () => until(Promise.resolve()),
    untouched: always,
  }),
};

Deno.test("In a cancelled scope every operation throws, ready or not, and takes nothing", async () => {
  const enter: Record<
    string,
    (
      body: (scope: CancelScope) => Body,
    ) => Operation<{ cancelledCaught: boolean }>
  > = {
    "scope.cancel() inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return body(scope)();
      }),
    "moveOnAfter(0)": (body) => moveOnAfter(0, (scope) => body(scope)()),
    "a scope that was cancelled before": (body) => {
      const scope = new CancelScope();
      scope.cancel();
      return scope.run(() => body(scope)());
    },
    "a scope inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return cancelScope((inside) => body(inside)());
      }),
    "a timeout inside": (body) =>
      cancelScope((scope) => {
        scope.cancel();
        return timeout(5, () => body(scope)());
      }),
  };
  for (const [name, around] of Object.entries(enter)) {
    const cases = Object.fromEntries(
      Object.entries(READY).map((
        [key, make],
      ) => [key, { make, wanted: [true, true] }]),
    );
    const differences = await wrong(cases, async ({ make }, mix) => {
      const { operation, untouched } = make();
      let caught = false;
      const outcome = await outcomeOf(as(mix.outer, function* () {
        const { cancelledCaught } = yield around(() =>
          as(mix.inner, function* () {
            yield operation();
          })
        );
        caught = cancelledCaught;
      }));
      return outcome === "undefined" ? [caught, untouched()] : outcome;
    });
    assertEquals([name, ...differences], [name]);
  }
});

Deno.test("In async functions the next operation throws a cancellation, ready or not, and takes nothing", async () => {
  const cases = Object.fromEntries(
    Object.entries(READY).map((
      [key, make],
    ) => [key, { make, wanted: [true, true] }]),
  );
  for (const place of ["task", "timeout", "group", "scope", "helper"]) {
    const differences = await wrong(cases, async ({ make }) => {
      const { operation, untouched } = make();
      let cancelled = false;
      const outcome = await outcomeOf(async () => {
        const body = async () => {
          currentTask()!.cancel();
          await operation();
        };
        const task = getRunningLoop().createTask(async () => {
          if (place === "timeout") await timeout(100, body);
          else if (place === "group") await taskGroup(body);
          else if (place === "scope") await cancelScope(body);
          else await body();
        });
        await wait([task]);
        cancelled = task.cancelled();
      });
      return outcome === "undefined" ? [cancelled, untouched()] : outcome;
    }, MIXES.slice(0, 1));
    assertEquals([place, ...differences], [place]);
  }
});
