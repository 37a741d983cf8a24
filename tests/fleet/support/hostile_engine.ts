/**
 * A store that does whatever an engine may suffer: for the tests of remote executors.
 *
 * @module
 */
import {
  MemoryEngine,
  type MemoryStore,
} from "../../../src/fleet/memory_engine.ts";
import type {
  EngineListener,
  EngineRoles,
  RemoteEngine,
  RemoteLease,
  RemoteOutcome,
  RemoteRequest,
  RemoteStanding,
  RemoteVerdict,
} from "../../../src/fleet/engine.ts";
import { getRunningLoop, sleep } from "@rota/rota";

/** A call of the store. */
export type Call = "open" | "add" | "cancel" | "find";

/** What becomes of a call: it fails before it has done anything, its answer is lost, or it comes late. */
export type Fault =
  | "fails"
  | "answer lost"
  | { readonly lateMs: number }
  | null;

/** What becomes of an event: it is lost, told twice, or told late. */
export type EventFault = "lost" | "twice" | { readonly lateMs: number } | null;

/** Decides what goes wrong. */
export interface Faults {
  call?(call: Call): Fault;
  event?(event: "begun" | "progressed" | "ended" | "cancelled"): EventFault;
}

/** Engine over a {@linkcode MemoryStore}, with faults. */
export class HostileEngine implements RemoteEngine {
  readonly inWords = "the hostile store";
  readonly isOutside = false;
  readonly #engine: MemoryEngine;
  readonly #faults: Faults;

  constructor(store: MemoryStore, faults: Faults) {
    this.#engine = new MemoryEngine(store);
    this.#faults = faults;
  }

  async #call<T>(call: Call, fn: () => Promise<T>): Promise<T> {
    const fault = this.#faults.call?.(call) ?? null;
    if (fault === "fails") throw new Error(`${call} failed`);
    const value = await fn();
    if (fault === "answer lost") throw new Error(`${call} was not answered`);
    if (fault !== null) await later(fault.lateMs);
    return value;
  }

  #hear<A extends unknown[]>(
    event: "begun" | "progressed" | "ended" | "cancelled",
    fn: (...args: A) => void,
  ): (...args: A) => void {
    return (...args) => {
      const fault = this.#faults.event?.(event) ?? null;
      if (fault === "lost") return;
      if (fault === null) return fn(...args);
      if (fault === "twice") fn(...args);
      const lateMs = fault === "twice" ? 5 : fault.lateMs;
      getRunningLoop().callLater(lateMs, () => fn(...args));
    };
  }

  open(listener: EngineListener, roles: EngineRoles): Promise<void> {
    const hostile: EngineListener = {
      awaits: (id) => listener.awaits(id),
      failed: (error) => listener.failed(error),
      begun: this.#hear("begun", (id: string) => listener.begun(id)),
      progressed: this.#hear(
        "progressed",
        (id: string, value: string) => listener.progressed(id, value),
      ),
      ended: this.#hear(
        "ended",
        (id: string, outcome: RemoteOutcome) => listener.ended(id, outcome),
      ),
      cancelled: this.#hear(
        "cancelled",
        (id: string, reason: string) => listener.cancelled(id, reason),
      ),
    };
    return this.#call("open", () => this.#engine.open(hostile, roles));
  }

  add(requests: readonly RemoteRequest[]): Promise<readonly string[]> {
    return this.#call("add", () => this.#engine.add(requests));
  }

  cancel(id: string, reason: string): Promise<boolean> {
    return this.#call("cancel", () => this.#engine.cancel(id, reason));
  }

  find(ids: readonly string[]): Promise<readonly RemoteStanding[]> {
    return this.#call("find", () => this.#engine.find(ids));
  }

  work(
    concurrency: number,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): void {
    this.#engine.work(concurrency, run);
  }

  stop(): Promise<void> {
    return this.#engine.stop();
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

async function later(ms: number): Promise<void> {
  await sleep(ms);
}
