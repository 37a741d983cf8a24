/**
 * The language of the supervisor programs: see `DSL.md`.
 *
 * @module
 */

/** How a start of a worker goes. */
export type StartOutcome = "ok" | "error" | "crash" | "ignore";

/** What a worker does when it is started and stopped. */
export interface Behaviour {
  readonly starts?: readonly StartOutcome[];
  readonly stop?: number | "ignore";
  readonly stopReason?: string;
}

/** A child. */
export interface ChildRecord {
  readonly id: string;
  readonly restart: "permanent" | "transient" | "temporary";
  readonly shutdown: "brutal-kill" | "infinity" | number;
  readonly significant: boolean;
  readonly type: "worker" | "supervisor";
  readonly behaviour?: Behaviour;
  readonly supervisor?: SupervisorRecord;
}

/** A supervisor. */
export interface SupervisorRecord {
  readonly strategy: "one-for-one" | "one-for-all" | "rest-for-one" | "dynamic";
  readonly maxRestarts: number;
  readonly withinMs: number;
  readonly autoShutdown: "never" | "any-significant" | "all-significant";
  readonly children: readonly ChildRecord[];
}

/** Actions that happen while a start or a stop is held up. */
export interface During {
  readonly start?: string;
  readonly stop?: string;
  readonly do: readonly Step[];
}

/** A step. */
export interface Step {
  readonly op: string;
  readonly child?: string;
  readonly reason?: string;
  readonly ms?: number;
  readonly sup?: string;
  readonly id?: string;
  readonly spec?: ChildRecord;
  readonly behaviour?: Behaviour;
  readonly do?: readonly Step[];
  readonly during?: During;
}

/** An event of a trace. */
export type Event = readonly unknown[];

/** A program and what OTP's supervisor did with it. */
export interface ProgramRecord {
  readonly id: string;
  readonly supervisor: SupervisorRecord;
  readonly steps: readonly Step[];
  readonly trace: readonly (readonly Event[])[];
}

/** A file of programs. */
export interface ProgramFile {
  readonly format: number;
  readonly programs: readonly ProgramRecord[];
}
