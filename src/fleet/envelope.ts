/**
 * Jobs, results, errors and progress as they are in the store.
 *
 * Values are structured clones, as between a program and its processes, in base 64;
 * those that are simple are JSON, behind a character that is not of base 64.
 *
 * @module
 */
import { JobVersionError, RemoteStoreError } from "../errors.ts";
import { inspect } from "../loop/checks.ts";
import {
  type PackedError,
  packError,
  unpackError,
} from "../workers/error_codec.ts";
import { HEADER_BYTES } from "../workers/frames.ts";
import type { TaskRef } from "../workers/module_task.ts";
import { FrameWriter, readBody } from "../workers/process_codec.ts";
import type { Json, RemoteFailure } from "./engine.ts";

/** Version of the envelope. A worker runs jobs of the versions that it knows, and no others. */
export const VERSION = 1;

/** Most bytes of a value. */
const VALUE_BYTES_MAX = 256 * 1024 * 1024;

/** First character of a value in JSON. */
const IN_JSON = "=";
/** Longest list that is looked through for whether it can be JSON. */
const SHORT = 16;

const writer = new FrameWriter(VALUE_BYTES_MAX);

/**
 * Writes a value.
 *
 * @throws {DOMException} If it cannot be cloned.
 */
export function encode(value: unknown): string {
  if (isSimple(value) || (Array.isArray(value) && isListOfSimple(value))) {
    return IN_JSON + JSON.stringify(value);
  }
  return writer.frame(0, 0, value).subarray(HEADER_BYTES).toBase64();
}

/**
 * Reads a value.
 *
 * @throws {Error} If the text is something else.
 */
export function decode(text: string): unknown {
  if (text.startsWith(IN_JSON)) return JSON.parse(text.slice(IN_JSON.length));
  return readBody(Uint8Array.fromBase64(text));
}

/** Whether JSON tells a value apart from all others, and it is no object. */
function isSimple(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return value - value === 0 && !Object.is(value, -0);
    default:
      return value === null;
  }
}

function isListOfSimple(list: readonly unknown[]): boolean {
  if (list.length > SHORT || Object.keys(list).length !== list.length) {
    return false;
  }
  for (const item of list) if (!isSimple(item)) return false;
  return true;
}

/** Delays of retries, as they go along with a job. */
export interface RetryPlan {
  /** How often the job is begun at most. */
  readonly attempts: number;
  /** Delay after the first failure. */
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Whether the delay is a random part of that. */
  readonly isRandom: boolean;
}

/** A job, ready to be put in the store, or read from it. */
export interface Envelope {
  readonly name: string;
  readonly task: TaskRef;
  readonly args: readonly unknown[];
  /** Task-local values that go along; null if there are none. */
  readonly locals: Readonly<Record<string, unknown>> | null;
  /** Moment of the wall clock; Infinity for none. */
  readonly deadlineAtMs: number;
  readonly dedupeKey: string | null;
  readonly tellsProgress: boolean;
  readonly retry: RetryPlan;
}

/**
 * Writes a job.
 *
 * @param root URL below which modules are named by their path from there; null for none.
 * @throws {DOMException} If an argument cannot be cloned.
 * @throws {TypeError} If there is a root, and the function is not of a module below it.
 */
export function seal(job: Envelope, root: string | null): Json {
  const { retry, locals, deadlineAtMs, dedupeKey } = job;
  const sealed: Record<string, Json> = {
    v: VERSION,
    task: relative(job.task, root) as Json,
    args: encode(job.args),
  };
  if (job.name !== nameOf(job.task)) sealed.name = job.name;
  if (locals !== null) sealed.locals = encode(locals);
  if (deadlineAtMs !== Infinity) sealed.deadlineAtMs = deadlineAtMs;
  if (dedupeKey !== null) sealed.dedupeKey = dedupeKey;
  if (job.tellsProgress) sealed.progress = true;
  if (retry.attempts > 1) {
    const { attempts, initialMs, factor, maxMs, isRandom } = retry;
    sealed.retry = [attempts, initialMs, factor, maxMs, isRandom];
  }
  return sealed;
}

function nameOf(task: TaskRef): string {
  return "name" in task ? task.name : "";
}

function relative(task: TaskRef, root: string | null): TaskRef {
  if (root === null) return task;
  if ("source" in task) {
    throw new TypeError(
      "Cannot submit a job as its function must be of a module below root: received one that is sent by its source",
    );
  }
  const { module, name } = task;
  if (!module.startsWith(root)) {
    throw new TypeError(
      `Cannot submit a job as its module must be below root, ${root}: received ${module}`,
    );
  }
  return { module: module.slice(root.length), name };
}

/**
 * Reads a job.
 *
 * @throws {JobVersionError} If it is of a version that is not known here, or no job at all.
 * @throws {TypeError} If its module is not below `root`.
 */
export function unseal(payload: Json, root: string | null): Envelope {
  const fields = asRecord(payload);
  if (fields?.v !== VERSION) {
    const found = fields === null || fields.v === undefined
      ? "none"
      : inspect(fields.v);
    throw new JobVersionError(
      `Cannot read a job as its version must be ${VERSION}: received ${found}`,
    );
  }
  try {
    return readFields(fields, root);
  } catch (cause) {
    if (cause instanceof TypeError) throw cause;
    throw new JobVersionError("Cannot read a job: it is damaged", { cause });
  }
}

function readFields(
  fields: Readonly<Record<string, unknown>>,
  root: string | null,
): Envelope {
  const { deadlineAtMs = Infinity, dedupeKey = null, locals } = fields;
  const task = absolute(asRecord(fields.task), root);
  const { name = nameOf(task) } = fields;
  const args = decode(String(fields.args));
  expect(Array.isArray(args), "args");
  expect(typeof deadlineAtMs === "number", "deadlineAtMs");
  return {
    name: String(name),
    task,
    args: args as readonly unknown[],
    locals: locals === undefined ? null : asRecord(decode(String(locals))),
    deadlineAtMs: Number(deadlineAtMs),
    dedupeKey: dedupeKey === null ? null : String(dedupeKey),
    tellsProgress: fields.progress === true,
    retry: readRetry(fields.retry),
  };
}

/** Refuses a field that no submitter writes so. */
function expect(isRight: boolean, field: string): void {
  if (!isRight) throw new RangeError(`the field ${field} is of the wrong type`);
}

/** The retries of jobs that said nothing of them. */
export const NO_RETRY: RetryPlan = Object.freeze({
  attempts: 1,
  initialMs: 0,
  factor: 1,
  maxMs: 0,
  isRandom: false,
});

function readRetry(value: unknown): RetryPlan {
  if (value === undefined) return NO_RETRY;
  expect(Array.isArray(value), "retry");
  const numbers = (value as unknown[]).slice(0, 4);
  expect(numbers.length === 4 && numbers.every(isFiniteNumber), "retry");
  const [attempts, initialMs, factor, maxMs] = numbers as number[];
  return {
    attempts: attempts!,
    initialMs: initialMs!,
    factor: factor!,
    maxMs: maxMs!,
    isRandom: (value as unknown[])[4] === true,
  };
}

function isFiniteNumber(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value < Infinity;
}

function absolute(
  task: Readonly<Record<string, unknown>> | null,
  root: string | null,
): TaskRef {
  const { source, module, name } = task ?? {};
  if (typeof source === "string" && root === null) return { source };
  if (typeof module === "string" && typeof name === "string") {
    const href = root === null ? module : URL.parse(module, root)?.href;
    if (href !== undefined && (root === null || href.startsWith(root))) {
      return { module: href, name };
    }
  }
  throw new TypeError(
    root === null
      ? `Cannot run a job as its task must be a module and a name: received ${
        inspect(task)
      }`
      : `Cannot run a job as its module must be below root, ${root}: received ${
        inspect(task)
      }`,
  );
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === "object" && value !== null
    ? value as Record<string, unknown>
    : null;
}

/** Writes an error for the submitter, and in words. */
export function sealError(error: unknown): RemoteFailure {
  const packed = packError(error);
  const { message, stack } = inText(packed);
  let text: string;
  try {
    text = encode(packed);
  } catch {
    text = encode(packError(new Error(message)));
  }
  return { error: text, message, stack };
}

function inText(packed: PackedError): { message: string; stack: string } {
  if (packed.kind !== "error") {
    const message = packed.kind === "text" ? packed.text : inspect(
      packed.kind === "value" ? packed.value : undefined,
    );
    return { message, stack: message };
  }
  const { name, known, message, stack } = packed;
  const text = `${name ?? known}: ${message}`;
  return { message: text, stack: stack ?? text };
}

/** Reads an error of a job; an `Error` with the message where the store has lost it. */
export function unsealError(error: string | null, message: string): unknown {
  if (error === null) return new Error(message);
  try {
    return unpackError(decode(error) as PackedError);
  } catch (cause) {
    return new Error(message, { cause });
  }
}

/** The error for something of a job that cannot be read. */
export function damaged(
  what: string,
  name: string,
  cause: unknown,
): RemoteStoreError {
  return new RemoteStoreError(
    `Cannot read the ${what} of job "${name}": it is damaged`,
    { cause },
  );
}
