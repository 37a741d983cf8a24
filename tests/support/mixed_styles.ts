/**
 * Programs whose bodies are generators and async functions in every mixture, and
 * how they end, in one line.
 *
 * @module
 */
import {
  type Coroutine,
  type EventLoop,
  type Future,
  getRunningLoop,
  type Operation,
  run,
  type RunOptions,
  until,
} from "../../mod.ts";

/** Whether a body is a generator or an async function. */
export type Style = "generator" | "async";

/** The styles of a program: of what is outside, and of the bodies inside. */
export interface Mix {
  readonly name: string;
  readonly outer: Style;
  readonly inner: Style;
}

/** Every mixture. */
export const MIXES: readonly Mix[] = (["generator", "async"] as const).flatMap(
  (outer) =>
    (["generator", "async"] as const).map((inner) => ({
      name: `${inner} in ${outer}`,
      outer,
      inner,
    })),
);

/** What a body waits for: in a generator, a promise goes through `until`. */
export type Waited =
  | Operation<unknown>
  | Future<unknown>
  | Promise<unknown>;

/** A body that yields what it waits for and is sent what that gives. */
// deno-lint-ignore no-explicit-any
export type Steps<T = unknown> = Generator<Waited, T, any>;

/** Makes a body in a style. */
export function as<T>(
  style: Style,
  steps: () => Steps<T>,
): () => Coroutine<T> | Promise<T> {
  return style === "async" ? () => inAsync(steps()) : function* () {
    return yield* inGenerator(steps());
  };
}

function* inGenerator<T>(body: Steps<T>): Coroutine<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      const { value: target } = step;
      value = target instanceof Promise ? yield* until(target) : yield* target;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

async function inAsync<T>(body: Steps<T>): Promise<T> {
  let step = body.next();
  while (step.done !== true) {
    let value: unknown;
    try {
      value = await step.value;
    } catch (error) {
      step = body.throw(error);
      continue;
    }
    step = body.next(value);
  }
  return step.value;
}

/** An error in few words: its name, and its message or its parts if that says more. */
export function tell(error: unknown): string {
  if (error instanceof AggregateError) {
    return `${error.name}[${error.errors.map(tell).join(", ")}]`;
  }
  if (error instanceof SuppressedError) {
    return `SuppressedError[${tell(error.error)}, ${tell(error.suppressed)}]`;
  }
  if (!(error instanceof Error)) return String(error);
  const { name, message } = error;
  if (name === "TimeoutError") return name;
  return name === "Error" ? message : String(error);
}

/** How long a program may take that takes no time, before it counts as hanging. */
const GUARD_MS = 2_000;

/**
 * Runs a program on virtual time, and tells how it ended and what was reported.
 * Foreign promises may take virtual time if `outsideWaits` is `"ignore"`.
 */
export async function outcomeOf(
  body: () => Coroutine<unknown> | Promise<unknown>,
  options: RunOptions = {},
): Promise<string> {
  const reports: string[] = [];
  let loop: EventLoop | null = null;
  const main = () => {
    loop = getRunningLoop();
    loop.setExceptionHandler((_, { message, exception }) => {
      reports.push(
        `reported: ${exception === undefined ? message : tell(exception)}`,
      );
    });
    return body();
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const guard = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, GUARD_MS, "hangs");
  });
  const ended = run(main as () => Coroutine<unknown>, {
    host: "virtual",
    name: "main",
    ...options,
  }).then(
    (value) =>
      typeof value === "string" ? value : JSON.stringify(value) ?? "undefined",
    tell,
  );
  const outcome = await Promise.race([ended, guard]);
  clearTimeout(timer);
  if (outcome === "hangs") (loop as EventLoop | null)?.stop();
  return [outcome, ...reports].join("; ");
}

/** A promise that is no operation, and takes virtual time: run with {@linkcode FOREIGN}. */
export function foreign<T = undefined>(ms: number, value?: T): Promise<T> {
  const loop = getRunningLoop();
  return new Promise((resolve) => {
    loop.callLater(ms, () => resolve(value as T));
  });
}

/** Lets the virtual clock go on while a task is at a foreign promise. */
export const FOREIGN: RunOptions = { outsideWaits: "ignore" };

/** Runs every case in every mixture; the result names those that came out otherwise. */
export async function wrong<C extends { readonly wanted: unknown }>(
  cases: Readonly<Record<string, C>>,
  play: (entry: C, mix: Mix) => Promise<unknown>,
  mixes: readonly Mix[] = MIXES,
): Promise<string[]> {
  const differences: string[] = [];
  for (const [name, entry] of Object.entries(cases)) {
    for (const mix of mixes) {
      const wanted = text(entry.wanted);
      const got = text(await play(entry, mix));
      if (got !== wanted) {
        differences.push(`${name} (${mix.name}): got ${got}, wanted ${wanted}`);
      }
    }
  }
  return differences;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
