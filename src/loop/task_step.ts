/**
 * Steps of a task: the first one finds out what its body is, the others resume its
 * generator.
 *
 * These are functions and not methods: an error keeps the receivers of the frames
 * on the stack where it was made, and a task that is kept by its own error is never
 * collected, nor its failure reported.
 *
 * @module
 */
import { ownerOfContinuation, runOwned } from "../host/async_context.ts";
import { toThrow } from "./cancellation.ts";
import { isGeneratorFunction, isThenable } from "./checks.ts";
import { current } from "./current.ts";
import { lastYielded, type Suspension } from "./future.ts";
import { Operation } from "./operation.ts";
import { type Stepper, suspend } from "./stepping.ts";
import {
  coroutineOf,
  mayRefuse,
  nextOfGenerator,
  type TaskBody,
} from "./task_body.ts";
import type { Task } from "./task.ts";
import { drop } from "./waiters.ts";

/** Stands for the body of a task that waits, or has waited, for a promise. */
export const PROMISED: unique symbol = Symbol("promised");

/**
 * A task, as its steps see it. These members have names and not symbols: to use an
 * imported symbol costs two nanoseconds, and a step has some fifty.
 *
 * @internal
 */
export interface SteppedTask extends Stepper {
  /** The body, until the first step; then null, or PROMISED for good. */
  body: TaskBody<unknown> | typeof PROMISED | null;
  /** The generator, from the first step to the end; null in async functions. */
  coroutine: Iterator<Suspension, unknown, unknown> | null;
  /** Enters the async context of the task's creator; null on most loops. */
  readonly enterContext: (<R>(fn: () => R) => R) | null;
  /** Whether it is an async function, which has begun. */
  readonly promised: boolean;
  /** Whether a task without a generator is not to start: asked before its first step and after its end. */
  intercept(): boolean;
  /** Ends the task: its body has thrown. */
  endWithError(error: unknown): void;
  /** Ends the task: its body has returned. */
  endWithValue(value: unknown): void;
  /** Has the task wait for the promise of an async function. */
  startPromise(promise: PromiseLike<unknown>): void;
  /** Ends the task: that promise is settled. */
  promiseSettled(failed: boolean, outcome: unknown): void;
}

/** Runs one step of a task. */
export function stepTask(task: Task<unknown>): void {
  const coroutine = task.coroutine;
  if (coroutine === null) {
    if (!task.intercept()) startTask(task);
    return;
  }
  const enter = task.enterContext;
  if (enter === null) stepCoroutine(task, coroutine);
  else enter(() => stepCoroutine(task, coroutine));
}

function stepCoroutine(
  task: Task<unknown>,
  coroutine: Iterator<Suspension, unknown, unknown>,
  hasToBegin = false,
): void {
  current.task = task;
  current.stepper = task;
  let step: IteratorResult<Suspension, unknown>;
  try {
    const thrown = task.due === null || hasToBegin ? undefined : toThrow(task);
    task.waitingOn = null;
    step = thrown === undefined
      ? nextOfGenerator.call(coroutine)
      : coroutine.throw!(thrown.error);
  } catch (error) {
    current.task = null;
    task.endWithError(error);
    return;
  }
  current.task = null;
  if (step.done === true) task.endWithValue(step.value);
  else suspend(task, step.value, lastYielded);
}

/** The first step: finds out what the body is. */
function startTask(task: Task<unknown>): void {
  const body = task.body;
  if (body === PROMISED) return; // queued once more by a cancellation; its waits deal with that
  task.body = null;
  if (body === null || (task.due !== null && isRefused(task, body))) return;
  current.task = task;
  current.stepper = task;
  let product: unknown;
  let promise: PromiseLike<unknown> | null = null;
  try {
    product = call(task, body);
    if (!task.promised) {
      task.coroutine = coroutineOf(product);
      if (task.coroutine === null && isThenable(product)) {
        promise = product;
      }
    }
  } catch (error) {
    current.task = null;
    task.endWithError(error);
    return;
  }
  current.task = null;
  if (task.promised) return;
  if (task.coroutine !== null) {
    // A generator that is thrown into before it has begun never runs.
    if (mayRefuse(body)) stepTask(task);
    else stepCoroutine(task, task.coroutine, true);
  } else if (promise !== null) task.startPromise(promise);
  else task.endWithValue(product);
}

/** Whether a task is cancelled before it begins: the body never runs. */
function isRefused(task: Task<unknown>, body: TaskBody<unknown>): boolean {
  if (!mayRefuse(body)) return false;
  const thrown = toThrow(task);
  if (thrown === undefined) return false;
  if (typeof body !== "function" && body instanceof Operation) body[drop]();
  task.endWithError(thrown.error);
  return true;
}

/**
 * Calls the function of a task, if its body is one. A generator function only makes
 * its generator here. Anything else may be an async function, whose continuations
 * have to find their task again.
 */
function call(task: Task<unknown>, body: TaskBody<unknown>): unknown {
  if (typeof body !== "function") return body;
  return isGeneratorFunction(body) ? body() : startOwned(task, body);
}

/** Calls a function that may be an async one in the async context of the task. */
function startOwned(task: Task<unknown>, body: () => unknown): unknown {
  const enter = task.enterContext;
  return enter === null
    ? runOwned(task, beginBody, task, body)
    : enter(() => runOwned(task, beginBody, task, body));
}

function beginBody(task: Task<unknown>, body: () => unknown): unknown {
  const product = body();
  if (isNative(product)) task.startPromise(product);
  return product;
}

const thenOfPromise = Promise.prototype.then;

/** Whether `value` is a promise that calls back in the async context in which it was asked to. */
function isNative(value: unknown): value is Promise<unknown> {
  return value instanceof Promise && value.then === thenOfPromise;
}

/** Ends a task when the promise of its async function is settled. */
export function endWithPromise(
  task: Task<unknown>,
  promise: PromiseLike<unknown>,
): void {
  try {
    if (isNative(promise)) promise.then(bodyFulfilled, bodyRejected);
    else {
      promise.then(
        (value) => task.promiseSettled(false, value),
        (error) => task.promiseSettled(true, error),
      );
    }
  } catch (error) {
    task.promiseSettled(true, error); // nobody will call back
  }
}

// The task that is called back is found by the async context, so that all tasks
// share two functions, instead of each having two, and a scope for them.

function bodyFulfilled(value: unknown): void {
  (ownerOfContinuation() as Task<unknown>).promiseSettled(false, value);
}

function bodyRejected(error: unknown): void {
  (ownerOfContinuation() as Task<unknown>).promiseSettled(true, error);
}
