/**
 * Testing tools: time under control, cancellations and failures everywhere, mocks,
 * and tests that leave nothing behind.
 *
 * | To | use |
 * |---|---|
 * | run a test on virtual time, and fail on leftovers | {@linkcode testLoop}, {@linkcode runTestLoop} |
 * | move the time by hand | {@linkcode runVirtual}, {@linkcode VirtualClock} |
 * | bring tasks into one order | {@linkcode waitAllTasksBlocked}, {@linkcode Sequencer} |
 * | see whether code lets others run | {@linkcode assertCheckpoints}, {@linkcode assertNoCheckpoints} |
 * | cancel a program at each of its waits, or have each fail | {@linkcode cancelEverywhere}, {@linkcode failEverywhere} |
 * | run a program under many schedules, and one of them again | {@linkcode explore}, {@linkcode replay} |
 * | stand in for asynchronous functions, executors, descriptors | {@linkcode mockAsync}, {@linkcode FakeExecutor}, {@linkcode VirtualClock.openDescriptor} |
 * | have calls be late, lost, doubled or fail | {@linkcode FaultInjector} |
 *
 * Nothing here replaces a global, but {@linkcode explore} for the time of two runs, to
 * see what they use. So the mocks and the `FakeTime` of `@std/testing` work beside it:
 * `FakeTime` moves the timers of the runtime, a virtual clock those
 * of one loop.
 *
 * @example A timeout of an hour, tested at once
 * ```ts
 * import { sleep } from "@rota/rota/loop";
 * import { moveOnAfter } from "@rota/rota/structured";
 * import { mockAsync, runVirtual } from "@rota/rota/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const save = mockAsync<[text: string]>();
 * await runVirtual(async (clock) => {
 *   await moveOnAfter(3_600_000, async () => {
 *     for (;;) {
 *       await sleep(1_000_000);
 *       await save("draft");
 *     }
 *   });
 *   assertEquals(clock.nowMs, 3_600_000);
 * });
 * save.assertAwaitCount(3);
 * ```
 *
 * @module
 */
import "./load_order.ts";

// -- Time --

export {
  type RunAllOptions,
  runVirtual,
  type RunVirtualOptions,
  VirtualClock,
  type VirtualClockOptions,
} from "./virtual_clock.ts";

// -- Tests --

export {
  runTestLoop,
  type RunTestLoopOptions,
  testLoop,
  type TestLoopBody,
  type TestLoopContext,
  type TestLoopOptions,
} from "./test_loop.ts";

// -- Order --

export { Sequencer, waitAllTasksBlocked } from "./blocked.ts";
export {
  assertCheckpoints,
  assertNoCheckpoints,
  type CheckpointBody,
} from "./checkpoints.ts";

// -- Cancellation and failure --

export {
  cancelEverywhere,
  type CancelEverywhereOptions,
  failEverywhere,
  type FailEverywhereOptions,
  type Sweep,
  type SweepCheck,
  type SweepOptions,
  type SweepRun,
  type SweptBody,
  type SweptProgram,
} from "./everywhere.ts";
export {
  FaultInjector,
  type FaultOptions,
  type InjectedFault,
  type WrapOptions,
} from "./faults.ts";

// -- Exploration --

export {
  explore,
  type ExploreOptions,
  type ExploreReport,
  replay,
  type ReplayOptions,
} from "./explore.ts";
export { type ExploredProgram } from "./explore_run.ts";
export { type ExploreStrategy } from "./explore_strategies.ts";

// -- Stand-ins --

export {
  type MockAnswer,
  type MockAnswerOptions,
  type MockAsync,
  mockAsync,
  type MockAsyncOptions,
  type MockAwait,
  type MockCall,
} from "./mock_async.ts";
export {
  FakeExecutor,
  type FakeExecutorOptions,
  FakeJob,
} from "./fake_executor.ts";
export {
  FakeDescriptor,
  type FakeDescriptorOptions,
} from "./fake_descriptor.ts";

// -- Errors --

export {
  AssertionError,
  ExplorationError,
  type ExplorationFailure,
  type ExplorationFailureKind,
  InjectedFaultError,
  type Leftover,
  LeftoverError,
  type LeftoverKind,
  NondeterminismError,
  ScheduleError,
} from "../errors.ts";
