/**
 * Random programs that are shut down on a virtual clock: hooks that throw, hang, register hooks and cancel things, tasks
 * that resist, supervised children, runs of a runner, loops that are closed early. Each program has a number, which is
 * printed if it breaks a rule, and runs in both styles.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  allTasks,
  createTask,
  type EventLoop,
  getRunningLoop,
  isCancellation,
  newEventLoop,
  PriorityScheduler,
  Runner,
  sleep,
} from "../../mod.ts";
import { HookTooLateError, InterruptedError } from "../../src/errors.ts";
import { core } from "../../src/loop/core.ts";
import { SeededRandom } from "../../src/structures/random.ts";
import {
  type GracefulShutdown,
  gracefulShutdown,
  onShutdown,
} from "../../src/supervise/graceful_shutdown.ts";
import type { ShutdownReport } from "../../src/supervise/shutdown_report.ts";
import {
  SHUTDOWN_PHASES,
  type ShutdownPhase,
} from "../../src/supervise/shutdown_timetable.ts";
import { Supervisor } from "../../src/supervise/supervisor.ts";
import { inStyle, type Steps, type Style, STYLES } from "../support/styles.ts";

const PROGRAMS = 250;
const BUDGET_MS = 1_000;
/** The seeds of a run of this test follow one another from here. */
const FIRST_SEED = Number(Deno.env.get("ROTA_SEED") ?? 1);

/** A hook, as it was registered. */
interface Registered {
  readonly name: string;
  readonly phase: ShutdownPhase;
  began: number;
  /** How it has ended; null if it has not. */
  end: "returned" | "threw" | "cancelled" | null;
  removed: boolean;
}

/** A random program. */
class Program {
  readonly #random: SeededRandom;
  readonly #style: Style;
  readonly hooks: Registered[] = [];
  readonly reports: ShutdownReport[] = [];
  readonly told: string[] = [];
  readonly begun: boolean[] = [];
  beganMs = NaN;
  shutdown!: GracefulShutdown;
  #supervisor: Supervisor | null = null;
  #count = 0;

  constructor(seed: number, style: Style) {
    this.#random = new SeededRandom(seed);
    this.#style = style;
  }

  #below(limit: number): number {
    return Math.floor(this.#random.next() * limit);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)]!;
  }

  #ms(): number {
    return this.#pick([0, 0, 1, 3, 10, 40, 70, 150, 400, 900, 2_000]);
  }

  body(steps: Steps<unknown>): () => never {
    return inStyle(this.#style, steps) as () => never;
  }

  // -- What happens --

  begin(): void {
    const first = this.shutdown.begin("test");
    this.begun.push(first);
    if (first) this.beganMs = getRunningLoop().time();
  }

  register(): void {
    const phase = this.#pick(SHUTDOWN_PHASES);
    const hook: Registered = {
      name: `hook ${++this.#count}`,
      phase,
      began: 0,
      end: null,
      removed: false,
    };
    const options = {
      name: hook.name,
      timeoutMs: this.#pick([undefined, undefined, 0, 5, 60, 5_000]),
    };
    try {
      const handle = onShutdown(phase, this.#hookBody(hook), options);
      this.hooks.push(hook);
      if (this.#below(10) === 0) hook.removed = handle.remove();
    } catch (error) {
      assert(error instanceof HookTooLateError, String(error));
    }
  }

  #hookBody(hook: Registered): () => never {
    const plan = this.#below(8);
    const ms = this.#ms();
    // deno-lint-ignore no-this-alias
    const program = this;
    return this.body(function* () {
      assertEquals(++hook.began, 1);
      assertEquals(program.shutdown.phase, hook.phase);
      try {
        if (plan === 0) throw new Error("at once");
        program.act();
        yield sleep(ms);
        if (plan === 1) throw new Error("later");
        if (plan === 2) yield sleep(20_000);
        if (plan === 3) program.register();
        if (plan === 4) yield* program.#resist(3, ms);
        hook.end = "returned";
      } catch (error) {
        hook.end = isCancellation(error) ? "cancelled" : "threw";
        throw error;
      }
      return undefined;
    });
  }

  /** Survives some cancellations. */
  *#resist(times: number, ms: number): Generator<never, void, unknown> {
    for (let left = times; left > 0; left--) {
      try {
        yield sleep(ms + 20) as never;
      } catch (error) {
        if (!isCancellation(error)) throw error;
      }
    }
  }

  /** Does one thing that a program may do at any time. */
  act(): void {
    const loop = getRunningLoop();
    switch (this.#below(12)) {
      case 0:
        this.begin();
        break;
      case 1:
        this.register();
        break;
      case 2:
        this.spawn();
        break;
      case 3:
        loop.callLater(this.#ms(), () => this.act());
        break;
      case 4:
        loop.callSoon(() => this.act());
        break;
      case 5: {
        const tasks = allTasks(loop);
        this.#pick([...tasks])?.cancel("by a program");
        break;
      }
      case 6:
        this.#supervisor?.stop().then(undefined, () => {});
        break;
      case 7:
        if (gracefulShutdown() !== this.shutdown) throw new Error("another");
        break;
      default:
    }
  }

  /** Makes a task of some kind. */
  spawn(): void {
    const kind = this.#below(6);
    const ms = this.#ms();
    // deno-lint-ignore no-this-alias
    const program = this;
    const name = `task ${++this.#count}`;
    if (kind === 0) {
      createTask(async () => {
        await new Promise(() => {});
      }, { name });
      return;
    }
    createTask(
      this.body(function* () {
        try {
          yield sleep(ms);
          program.act();
          if (kind === 1) yield sleep(20_000);
          if (kind === 2) yield* program.#resist(5, ms);
          if (kind === 3) {
            yield sleep(1_500, { signal: program.shutdown.signal });
          }
        } finally {
          if (kind === 4) program.act();
          if (kind === 5) yield sleep(ms);
        }
        return undefined;
      }),
      { name },
    );
  }

  *#supervise(): Generator<never, void, unknown> {
    if (this.#below(2) === 0) return;
    const ms = this.#ms() + 1;
    const crashes = this.#below(2) === 0;
    // deno-lint-ignore no-this-alias
    const program = this;
    this.#supervisor = new Supervisor({
      reportCrashes: false,
      maxRestarts: 1_000,
      children: [{
        id: "child",
        restart: this.#pick(["permanent", "transient"] as const),
        start: (started) =>
          program.body(function* () {
            started();
            yield sleep(ms, { signal: program.shutdown.signal });
            if (crashes) throw new Error("crash");
            return undefined;
          })(),
      }],
    });
    yield this.#supervisor.start() as never;
  }

  main(): () => never {
    // deno-lint-ignore no-this-alias
    const program = this;
    return this.body(function* () {
      yield* program.#supervise();
      for (let left = program.#below(6); left > 0; left--) program.register();
      for (let left = program.#below(4); left > 0; left--) program.spawn();
      for (let left = program.#below(4); left > 0; left--) program.act();
      yield sleep(program.#ms());
      if (program.#below(8) > 0) program.begin();
      const plan = program.#below(6);
      if (plan === 0) throw new Error("main");
      if (plan === 1) yield sleep(20_000);
      if (plan === 2) yield* program.#resist(4, program.#ms());
      if (plan === 3) yield sleep(program.#ms());
      return "done";
    });
  }

  // -- What must hold --

  check(loop: EventLoop): void {
    const begun = this.begun.filter((first) => first).length;
    assertEquals(begun <= 1, true, "it begins once");
    assertEquals(this.reports.length, begun, "one report");
    assertEquals(loop[core].tasks.toArray().length, 0, "no task is left");
    assertEquals(loop.isClosed(), true);
    const [report] = this.reports;
    assertEquals(this.shutdown.report, report ?? null);
    assertEquals(this.shutdown.phase, null);
    if (report !== undefined) this.#checkReport(report);
    else {
      assertEquals(this.hooks.every(({ began }) => began === 0), true);
    }
  }

  #checkReport(report: ShutdownReport): void {
    const { stragglers, failures, phases } = report;
    assertEquals(
      report.code,
      stragglers.length + failures.length === 0 ? 0 : 1,
    );
    assert(report.durationMs <= BUDGET_MS, `${report.durationMs} ms`);
    assertEquals(
      phases.map(({ phase }) => phase),
      SHUTDOWN_PHASES.slice(0, phases.length),
      "the phases in order",
    );
    const took = phases.reduce((sum, { durationMs }) => sum + durationMs, 0);
    assertEquals(took, report.durationMs, "no time between phases");
    const reached = new Map(phases.map((phase) => [phase.phase, phase.hooks]));
    for (const hook of this.hooks) {
      const failed = failures.filter(({ name }) => name === hook.name).length;
      const late = stragglers.filter(({ name }) => name === hook.name).length;
      assert(failed + late <= 1, `${hook.name} is told once`);
      if (hook.removed) assertEquals(hook.began + failed + late, 0, hook.name);
      else if (hook.began === 0) {
        // Cancelled before its first step, or in a phase that was not reached.
        if (!reached.has(hook.phase)) assertEquals(failed, 0, hook.name);
        else assertEquals(failed + late, 1, hook.name);
      } else if (hook.end !== "returned" || failed + late > 0) {
        assertEquals(failed + late, 1, `${hook.name}: ${hook.end}`);
      }
    }
    for (const { kind, name } of stragglers) {
      const same = stragglers.filter((one) => one.name === name);
      assertEquals(same.length, 1, `${kind} ${name} is in the report once`);
    }
  }
}

/** Runs a program with a runner, in one or two runs. */
async function runProgram(seed: number, style: Style): Promise<void> {
  const program = new Program(seed, style);
  const runner = new Runner({
    host: "virtual",
    outsideWaits: "ignore",
    name: "main",
    cancelGraceMs: 5_000,
    loopFactory: (options) => {
      const loop = newEventLoop(
        seed % 3 === 1
          ? { ...options, scheduler: new PriorityScheduler() }
          : options,
      );
      loop.setExceptionHandler((_, { message }) => program.told.push(message));
      return loop;
    },
  });
  const loop = runner.getLoop();
  const ask = () => {
    program.shutdown = gracefulShutdown({
      loop,
      budgetMs: BUDGET_MS,
      preStopMs: seed % 3 === 0 ? 100 : 0,
      waitForMain: seed % 2 === 0,
      onReport: (report) => program.reports.push(report),
    });
  };
  const inFirstRun = seed % 5 === 0;
  try {
    if (inFirstRun) {
      await runner.run(program.body(function* () {
        ask();
      }));
    } else ask();
    for (let left = seed % 4 === 0 ? 2 : 1; left > 0; left--) {
      try {
        await runner.run(program.main());
      } catch (error) {
        const { message } = error as Error;
        const expected = message === "main" || isCancellation(error) ||
          error instanceof InterruptedError;
        assert(expected, String(error));
      }
    }
  } finally {
    if (seed % 7 === 0) await loop.close();
    await runner.close();
  }
  program.check(loop);
}

for (const style of STYLES) {
  Deno.test(`Random programs are shut down by the rules (${style})`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
      try {
        await runProgram(seed, style);
      } catch (error) {
        throw new Error(`Seed ${seed} (${style}) breaks a rule`, {
          cause: error,
        });
      }
    }
  });
}
