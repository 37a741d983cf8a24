import { assert, assertEquals, assertThrows } from "@std/assert";
import { SeededRandom } from "../src/structures/random.ts";
import {
  NOT_QUEUED,
  type TimerNode,
  TimerQueue,
} from "../src/structures/timer_queue.ts";

class Timer implements TimerNode {
  whenMs: number;
  sequence = 0;
  queueBucket = NOT_QUEUED;
  queueIndex = 0;
  readonly id: number;

  constructor(whenMs: number, id = 0) {
    this.whenMs = whenMs;
    this.id = id;
  }
}

function queueOf(
  ...deadlines: number[]
): { queue: TimerQueue<Timer>; timers: Timer[] } {
  const queue = new TimerQueue<Timer>();
  const timers = deadlines.map((whenMs, id) => new Timer(whenMs, id));
  for (const timer of timers) queue.push(timer);
  return { queue, timers };
}

/** Pops until nothing is due and checks that peekMs() foretold each. */
function drain(queue: TimerQueue<Timer>, nowMs = Infinity): Timer[] {
  const popped: Timer[] = [];
  for (;;) {
    const peekedMs = queue.peekMs();
    const timer = queue.popDue(nowMs);
    if (timer === undefined) return popped;
    assertEquals(peekedMs, timer.whenMs);
    popped.push(timer);
  }
}

function idsOf(timers: Timer[]): number[] {
  return timers.map((timer) => timer.id);
}

Deno.test("TimerQueue hands timers out by deadline, equal ones in the order in which they were pushed", () => {
  const { queue } = queueOf(30, 10, 20, 10, 30, 10);
  assertEquals(queue.size, 6);
  assertEquals(idsOf(drain(queue)), [1, 3, 5, 2, 0, 4]);
  assertEquals(queue.size, 0);
});

Deno.test("TimerQueue.popDue() gives a timer at its deadline and not a moment before", () => {
  const deadline = 1234.567890123;
  const { queue, timers } = queueOf(deadline);
  assertEquals(queue.popDue(deadline - 1e-9), undefined);
  assertEquals(queue.popDue(NaN), undefined);
  assertEquals(queue.peekMs(), deadline);
  assert(queue.popDue(deadline) === timers[0]);
  assertEquals(queue.popDue(deadline), undefined);
});

Deno.test("TimerQueue keeps deadlines apart that differ in the last bit", () => {
  const deadlines = [1000.1 + 3e-13, 1000.1, 1000.1 + 2e-13];
  const { queue } = queueOf(...deadlines);
  assertEquals(new Set(deadlines).size, 3);
  assertEquals(idsOf(drain(queue)), [1, 2, 0]);
});

Deno.test("TimerQueue never hands out a timer whose deadline is Infinity", () => {
  const { queue, timers } = queueOf(Infinity, 5, Infinity);
  assertEquals(idsOf(drain(queue)), [1]);
  assertEquals([queue.size, queue.peekMs()], [2, Infinity]);
  assertEquals([...queue].length, 2);
  assertEquals(queue.remove(timers[0]!), true);
  assertEquals(queue.remove(timers[0]!), false);
  assertEquals([queue.size, queue.popDue(Infinity)], [1, undefined]);
  assertEquals(queue.remove(timers[2]!), true);
  assertEquals(queue.size, 0);
});

Deno.test("TimerQueue orders deadlines of every magnitude", () => {
  const deadlines = [-1e300, -5, -0.25, 0, 1e-300, 0.25, 63.75, 63.99, 64, 65];
  // The ends of all wheels, and what lies next to them.
  for (let level = 0; level < 8; level++) {
    const end = 256 ** level / 4;
    deadlines.push(
      end * 1.5,
      end * 3,
      end * 254.5,
      end * 255,
      end * 255.9999,
      end * 256.5,
    );
  }
  deadlines.push(
    2 ** 46 - 1,
    2 ** 46,
    2 ** 46 + 1,
    2 ** 60,
    1e100,
    Number.MAX_VALUE,
  );
  const expected = [...new Set(deadlines)].sort((a, b) => a - b);
  for (let round = 0; round < 20; round++) {
    const shuffled = new SeededRandom(round).shuffle([...expected]);
    const { queue } = queueOf(...shuffled);
    assertEquals(drain(queue).map((timer) => timer.whenMs), expected);
  }
});

Deno.test("TimerQueue orders timers at the far end that come one after the other", () => {
  const { queue } = queueOf(2 ** 60);
  assertEquals(queue.peekMs(), 2 ** 60);
  queue.push(new Timer(2 ** 59, 1));
  assertEquals(queue.peekMs(), 2 ** 59);
  queue.push(new Timer(3, 2));
  queue.push(new Timer(2 ** 61, 3));
  assertEquals(idsOf(drain(queue)), [2, 1, 0, 3]);
});

Deno.test("TimerQueue takes deadlines that lie before timers it has handed out", () => {
  const { queue } = queueOf(1e6);
  assertEquals(idsOf(drain(queue)), [0]);
  for (const [id, whenMs] of [5, 3, -1, 1e6 - 1, 4].entries()) {
    queue.push(new Timer(whenMs, id));
  }
  assertEquals(idsOf(drain(queue)), [2, 1, 4, 0, 3]);
});

Deno.test("TimerQueue orders a timer that is pushed again as a new one", () => {
  const { queue, timers } = queueOf(10, 10, 10);
  const first = timers[0]!;
  assertEquals(queue.remove(first), true);
  queue.push(first);
  assertEquals(idsOf(drain(queue)), [1, 2, 0]);
  first.whenMs = 20;
  queue.push(first);
  assertEquals(queue.peekMs(), 20);
});

Deno.test("TimerQueue.remove() tells whether the timer was queued", () => {
  const { queue, timers } = queueOf(10, 20);
  assertEquals(queue.remove(new Timer(10)), false);
  assertEquals(queue.remove(timers[1]!), true);
  assertEquals(queue.remove(timers[1]!), false);
  assert(queue.popDue(10) === timers[0]);
  assertEquals(queue.remove(timers[0]!), false);
  assertEquals(queue.size, 0);
});

Deno.test("TimerQueue.peekMs() does not see removed timers", () => {
  const deadlines = Array.from(
    { length: 500 },
    (_, index) => (index * 37 % 500) * 11.5,
  );
  const { queue, timers } = queueOf(...deadlines);
  const byDeadline = timers.toSorted((a, b) => a.whenMs - b.whenMs);
  for (const [index, timer] of byDeadline.entries()) {
    assertEquals(queue.peekMs(), timer.whenMs);
    queue.remove(timer);
    assertEquals(queue.size, byDeadline.length - index - 1);
  }
  assertEquals(queue.peekMs(), Infinity);
});

Deno.test("TimerQueue.push() refuses deadlines that are no moment, and timers that are queued", () => {
  const { queue, timers } = queueOf(10);
  assertThrows(
    () => queue.push(new Timer(NaN)),
    RangeError,
    "Cannot queue a timer as whenMs must be a number above -Infinity: received NaN",
  );
  assertThrows(() => queue.push(new Timer(-Infinity)), RangeError);
  assertThrows(
    () => queue.push(timers[0]!),
    Error,
    "Cannot queue a timer: it is queued already",
  );
  assertEquals(idsOf(drain(queue)), [0]);
});

Deno.test("TimerQueue.clear() removes timers from every place", () => {
  const { queue, timers } = queueOf(1, 1, 70, 5_000, 1e9, Infinity);
  queue.popDue(1);
  queue.push(new Timer(0.5));
  assertEquals([...queue].length, 6);
  queue.clear();
  assertEquals([queue.size, queue.peekMs(), [...queue].length], [
    0,
    Infinity,
    0,
  ]);
  for (const timer of timers) assertEquals(queue.remove(timer), false);
  for (const timer of timers) queue.push(timer);
  assertEquals(idsOf(drain(queue)), [0, 1, 2, 3, 4]);
});

Deno.test("TimerQueue keeps no reference to timers that were removed or popped", async () => {
  const queue = new TimerQueue<Timer>();
  const collected = new Set<string>();
  const registry = new FinalizationRegistry<string>((name) =>
    collected.add(name)
  );
  const names = ["run", "heap", "slot", "never", "popped"];
  (() => {
    const [slot, never, run, heap, popped] = [9_000, Infinity, 10.01, 10, 10.02]
      .map((whenMs) => new Timer(whenMs));
    for (
      const timer of [
        slot!,
        never!,
        run!,
        popped!,
        new Timer(10.03),
        new Timer(9_000),
        new Timer(Infinity),
      ]
    ) {
      queue.push(timer);
    }
    queue.peekMs();
    queue.push(heap!);
    queue.push(new Timer(10));
    const timers = [run!, heap!, slot!, never!];
    for (const [index, timer] of timers.entries()) {
      registry.register(timer, names[index]!);
      queue.remove(timer);
    }
    registry.register(popped!, "popped");
    while (queue.popDue(10.02) !== undefined);
  })();
  assertEquals(queue.size, 3);
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--expose-gc");
  const { runInNewContext } = await import("node:vm");
  const collect = runInNewContext("gc") as () => void;
  for (
    let attempt = 0;
    attempt < 50 && collected.size < names.length;
    attempt++
  ) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assertEquals([...collected].sort(), names.sort());
});

Deno.test("TimerQueue keeps the order when it numbers its timers anew", () => {
  for (let spare = 0; spare <= 11; spare++) {
    const queue = new TimerQueue<Timer>(2 ** 30 - spare);
    const push = (id: number, whenMs: number): Timer => {
      const timer = new Timer(whenMs, id);
      queue.push(timer);
      return timer;
    };
    const timers = [
      push(0, 1),
      push(1, 1),
      push(2, 1),
      push(3, 70_000),
      push(4, 70_000),
      push(5, Infinity),
    ];
    assertEquals(queue.popDue(1)?.id, 0);
    // The slot of 1 ms is open now: deadlines of 1 go to the heap beside it.
    timers.push(push(6, 1), push(7, 1), push(8, 70_000), push(9, 1));
    for (const timer of timers) assert(timer.sequence < 2 ** 30);
    assertEquals(idsOf(drain(queue)), [1, 2, 6, 7, 9, 3, 4, 8]);
  }
});

Deno.test("TimerQueue hands out everything in order after a far timer was looked at first", () => {
  const random = new SeededRandom(8);
  const { queue } = queueOf(3_600_000);
  assertEquals(queue.peekMs(), 3_600_000);
  const timers = Array.from(
    { length: 20_000 },
    (_, id) => new Timer(random.nextInt(40_000) / 4 + 30_000, id + 1),
  );
  for (const timer of timers) {
    queue.push(timer);
    if (timer.id % 7 === 0) queue.peekMs();
  }
  timers.sort((a, b) => a.whenMs - b.whenMs || a.id - b.id);
  assertEquals(idsOf(drain(queue)), [...idsOf(timers), 0]);
});

Deno.test("TimerQueue orders many timers that are pushed latest first", () => {
  const queue = new TimerQueue<Timer>();
  const count = 30_000;
  for (let id = count; id > 0; id--) {
    queue.push(new Timer(id * 1.7, id));
    assertEquals(queue.peekMs(), id * 1.7);
  }
  assertEquals(
    idsOf(drain(queue)),
    Array.from({ length: count }, (_, index) => index + 1),
  );
});

Deno.test("TimerQueue takes many equal deadlines in the past", () => {
  const { queue } = queueOf(5_000);
  assertEquals(queue.popDue(5_000)?.id, 0);
  for (let id = 1; id <= 10_000; id++) queue.push(new Timer(-3, id));
  assertEquals(
    idsOf(drain(queue)),
    Array.from({ length: 10_000 }, (_, index) => index + 1),
  );
});

/** What a random program does: how deadlines are drawn from the present, and how fast the clock moves. */
interface Program {
  readonly name: string;
  readonly pendingMax: number;
  readonly steps: number;
  drawDelayMs(random: SeededRandom): number;
  drawJumpMs(random: SeededRandom): number;
}

const PROGRAMS: readonly Program[] = [
  {
    name: "short delays, many equal",
    pendingMax: 300,
    steps: 40_000,
    drawDelayMs: (random) => random.nextInt(20),
    drawJumpMs: (random) => random.nextInt(3),
  },
  {
    name: "delays of all magnitudes, past and never included",
    pendingMax: 300,
    steps: 40_000,
    drawDelayMs: (random) => {
      const kind = random.nextInt(12);
      if (kind === 0) return Infinity;
      if (kind === 1) return -random.next() * 1000;
      return random.next() * 10 ** random.nextInt(14);
    },
    drawJumpMs: (random) => random.next() * 10 ** random.nextInt(9),
  },
  {
    name: "timeouts that are mostly cancelled",
    pendingMax: 3_000,
    steps: 60_000,
    drawDelayMs: (random) => 10_000 + random.nextInt(90_000),
    drawJumpMs: (random) => random.next() * 50,
  },
  {
    name:
      "crowded slots, so that coarse slots are spread and the heap is relieved",
    pendingMax: 8_000,
    steps: 60_000,
    drawDelayMs: (random) =>
      random.nextInt(10) === 0 ? 70 + random.next() * 10 : random.next() * 40,
    drawJumpMs: (random) => random.nextInt(50) === 0 ? random.next() * 20 : 0,
  },
];

for (const program of PROGRAMS) {
  Deno.test(`TimerQueue behaves like a sorted array: ${program.name}`, () => {
    const seed = Date.now();
    console.log(`seed ${seed}`);
    const random = new SeededRandom(seed);
    const queue = new TimerQueue<Timer>();
    const model: Timer[] = [];
    const retired: Timer[] = [];
    let nowMs = random.nextInt(2) === 0 ? 0 : random.next() * 1e9;
    let pushes = 0;
    const order = new Map<Timer, number>();

    const insert = (timer: Timer): void => {
      let low = 0;
      let high = model.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (model[middle]!.whenMs <= timer.whenMs) low = middle + 1;
        else high = middle;
      }
      model.splice(low, 0, timer);
      order.set(timer, pushes++);
      queue.push(timer);
    };

    for (let step = 0; step < program.steps; step++) {
      // Grow, then shrink, and so on.
      const growing = Math.floor(step / (program.steps / 8)) % 2 === 0 &&
        model.length < program.pendingMax;
      const choice = random.nextInt(100);
      if (choice < (growing ? 70 : 20)) {
        const again = random.nextInt(4) === 0 ? retired.pop() : undefined;
        const timer = again ?? new Timer(0, step);
        timer.whenMs = nowMs + program.drawDelayMs(random);
        insert(timer);
      } else if (choice < 80) {
        if (model.length > 0) {
          const [timer] = model.splice(random.nextInt(model.length), 1);
          assert(queue.remove(timer!));
          assert(!queue.remove(timer!));
          retired.push(timer!);
        }
      } else {
        nowMs += program.drawJumpMs(random);
        const limit = random.nextInt(3) === 0 ? 3 : Infinity;
        for (let popped = 0; popped < limit; popped++) {
          const timer = queue.popDue(nowMs);
          if (timer === undefined) {
            assert(model.length === 0 || model[0]!.whenMs > nowMs);
            break;
          }
          assert(timer === model.shift() && timer.whenMs <= nowMs);
          assert(!queue.remove(timer));
          retired.push(timer);
        }
      }
      assert(queue.size === model.length);
      // Not after each step: looking at the earliest deadline is what opens slots.
      if (random.nextInt(3) === 0) {
        assert(queue.peekMs() === (model[0]?.whenMs ?? Infinity));
      }
      if (step % 2_000 === 0) {
        const sequences = model.toSorted((a, b) => a.sequence - b.sequence);
        const orders = model.toSorted((a, b) => order.get(a)! - order.get(b)!);
        assertEquals(idsOf(sequences), idsOf(orders));
        const listed = new Set(queue);
        assert(listed.size === model.length);
        assert(model.every((timer) => listed.has(timer)));
        if (random.nextInt(10) === 0) {
          queue.clear();
          retired.push(...model.splice(0));
        }
      }
    }
    while (model.length > 0 && model[0]!.whenMs < Infinity) {
      assert(queue.popDue(Number.MAX_VALUE) === model.shift());
    }
    assertEquals([queue.popDue(Infinity), queue.size], [
      undefined,
      model.length,
    ]);
  });
}
