/**
 * The worker's side of a process: it takes frames from its pipe, has jobs run, and ends when it is told to or something
 * went wrong.
 *
 * While no job is under way the process blocks in a read, as a frame that comes then is there half as late as one for
 * which the event loop has to be woken. Blocked it runs no timers that a job has left behind: so the pool has it wait in
 * its event loop when there is no job for some time.
 *
 * @module
 */
import { monotonicMs } from "../host/clock.ts";
import { PipeInput, PipeOutput } from "../host/inherited_pipe.ts";
import { macrotask } from "../host/macrotask.ts";
import { usedBytes } from "../host/v8.ts";
import { exitProcess } from "../host/process.ts";
import { onUncaught } from "../host/uncaught.ts";
import { type PackedError, packError, unpackError } from "./error_codec.ts";
import { FrameReader, LENGTH_MAX } from "./frames.ts";
import { JobRunner } from "./job_runner.ts";
import type { JobSpec, NestedSpec } from "./link.ts";
import { INPUT_FD, OUTPUT_FD } from "./orphan_guard.ts";
import { CLOSE_GRACE_MS } from "./pool_clock.ts";
import {
  checkMoved,
  detachMoved,
  FrameWriter,
  readBody,
} from "./process_codec.ts";
import {
  type DeathMessage,
  FromProcess,
  type JobMessage,
  type ProcessSettings,
  ToProcess,
  type WithdrawMessage,
} from "./process_protocol.ts";

/** How many bytes are read at a time at most: what a pipe holds. */
const READ_BYTES = 65_536;
/** Microtasks that an async function may take to end, before the process looks elsewhere. */
const HOPS = 8;
/** How long the process may go without a pass of its event loop while jobs come one after the other. */
const PASS_EVERY_MS = 2;

/** A process that runs jobs. */
export class ProcessWorker {
  readonly #input = new PipeInput(INPUT_FD);
  readonly #output = new PipeOutput(OUTPUT_FD);
  readonly #frames: FrameWriter;
  readonly #reader: FrameReader;
  readonly #runner: JobRunner;
  /** When the event loop has last passed. */
  #passedMs = -Infinity;
  /** Whether it waits in its event loop, although there is no job. */
  #isResting = false;
  /** Whether it is to end once it has no job. */
  #isClosing = false;
  #hasClosed = false;

  /** @param settings The {@linkcode ProcessSettings}, as JSON. */
  constructor(settings: string = "{}") {
    const { frameBytesMax }: ProcessSettings = JSON.parse(settings);
    this.#frames = new FrameWriter(frameBytesMax);
    this.#reader = new FrameReader(LENGTH_MAX, this.#receive);
    this.#runner = new JobRunner({
      returned: (id, value, transfer) => this.returned(id, value, transfer),
      threw: (id, error) => this.threw(id, error),
      progressed: (id, value) => this.send(FromProcess.PROGRESSED, id, value),
      submitted: (id, spec) => this.submitted(id, spec),
      withdrew: (id, number, reason) => this.withdrew(id, number, reason),
    });
  }

  /** Runs until the process ends. */
  async run(): Promise<void> {
    onUncaught((kind, error) => this.die(kind, error));
    this.send(FromProcess.READY, 0, undefined);
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await this.mayBlock()
        ? this.#input.readBlocking(buffer)
        : await this.#input.read(buffer);
      if (count === null) exitProcess(0); // the pool's process is gone
      this.take(buffer.subarray(0, count));
      this.closeIfDone();
    }
  }

  /**
   * Lets promises settle, and now and then what jobs have left behind go on. Returns whether there is nothing to do but
   * to read.
   */
  async mayBlock(): Promise<boolean> {
    const runner = this.#runner;
    await null;
    for (let n = 0; n < HOPS && runner.running > 0; n++) await null;
    // Not after each job: a process that sleeps as soon as it has answered is woken sooner, where processors are scarce.
    if (monotonicMs() - this.#passedMs > PASS_EVERY_MS) {
      await new Promise<void>(macrotask);
      this.#passedMs = monotonicMs();
    }
    return runner.running === 0 && !this.#isResting && !this.#isClosing;
  }

  take(bytes: Uint8Array): void {
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.die("protocol", error);
    }
  }

  // -- Messages --

  readonly #receive = (kind: number, id: number, body: Uint8Array): void => {
    switch (kind) {
      case ToProcess.JOB:
        this.#isResting = false;
        return this.#runner.run(jobOf(id, readBody(body) as JobMessage));
      case ToProcess.ABORT:
        return this.#runner.abort(
          id,
          unpackError(readBody(body) as PackedError),
        );
      case ToProcess.PING:
        return this.send(FromProcess.ANSWERED, 0, usedBytes());
      case ToProcess.REST:
        this.#isResting = true;
        return;
      case ToProcess.CLOSE:
        this.#isClosing = true;
        return;
      case ToProcess.NESTED_RETURNED:
        return this.#runner.nested.returned(id, readBody(body));
      case ToProcess.NESTED_THREW:
        return this.#runner.nested.threw(
          id,
          unpackError(readBody(body) as PackedError),
        );
      case ToProcess.NESTED_PROGRESSED:
        return this.#runner.nested.progressed(id, readBody(body));
      default:
        throw new RangeError(`Cannot read a frame: its kind is ${kind}`);
    }
  };

  /** Sends a frame. Throws if the value cannot be sent; nothing was sent then. */
  send(kind: number, id: number, value: unknown): void {
    const frame = this.#frames.frame(kind, id, value);
    try {
      this.#output.writeBlocking(frame);
    } catch {
      exitProcess(0); // the pool's process is gone
    }
  }

  returned(
    id: number,
    value: unknown,
    transfer: readonly Transferable[],
  ): void {
    checkMoved(transfer);
    this.send(FromProcess.RETURNED, id, value);
    detachMoved(transfer);
    this.closeIfDone();
  }

  threw(id: number, error: unknown): void {
    this.sendError(FromProcess.THREW, id, packError(error), (packed) => packed);
    this.closeIfDone();
  }

  submitted(id: number, spec: NestedSpec): void {
    const { transfer } = spec;
    checkMoved(transfer);
    const message: NestedSpec = { ...spec, transfer: [] };
    this.send(FromProcess.NESTED, id, message);
    detachMoved(transfer);
  }

  withdrew(id: number, number: number, reason: unknown): void {
    this.sendError(
      FromProcess.WITHDRAWN,
      id,
      packError(reason),
      (packed): WithdrawMessage => [number, packed],
    );
  }

  /** Sends a message with an error in it, in place of which the reason goes along if the error cannot be sent. */
  sendError(
    kind: number,
    id: number,
    error: PackedError,
    messageOf: (error: PackedError) => unknown,
  ): void {
    try {
      this.send(kind, id, messageOf(error));
    } catch (failure) {
      const text = `An error that cannot be sent: ${failure}`;
      this.send(kind, id, messageOf({ kind: "text", text }));
    }
  }

  // -- The end --

  closeIfDone(): void {
    if (!this.#isClosing || this.#hasClosed || this.#runner.running > 0) return;
    this.#hasClosed = true;
    this.close();
  }

  async close(): Promise<void> {
    await this.#runner.close(CLOSE_GRACE_MS);
    exitProcess(0);
  }

  die(kind: DeathMessage[0], error: unknown): never {
    try {
      this.sendError(
        FromProcess.DIED,
        0,
        packError(error),
        (packed): DeathMessage => [kind, packed],
      );
    } finally { // a job may have broken what the codec is made of
      exitProcess(1);
    }
  }
}

function jobOf(id: number, message: JobMessage): JobSpec {
  const [name, task, args, remainingMs, locals] = message;
  return { id, name, task, args, transfer: [], remainingMs, locals };
}
