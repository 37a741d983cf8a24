/**
 * The language of the conformance programs, as types. `README.md` says what
 * each construct means.
 *
 * @module
 */

/** An event of a trace: virtual time in seconds, who speaks, what happened, details. */
export type TraceEvent = readonly [
  time: number,
  label: string,
  kind: string,
  ...details: unknown[],
];

/** A program with the trace that CPython gives for it. */
export interface ProgramRecord extends Program {
  /** What the program must produce. The interpreter does not look at it. */
  readonly trace: readonly TraceEvent[];
  /** Scenarios only: what it shows, in words. */
  readonly name?: string;
  /** Scenarios only: events, possibly cut short, that occur in this order. */
  readonly expect?: readonly (readonly unknown[])[];
  /** Scenarios only: events, possibly cut short, that do not occur. */
  readonly absent?: readonly (readonly unknown[])[];
}

/** A program, without what it should do. */
export interface Program {
  readonly id: string;
  /** What exists before the loop runs. */
  readonly objects: readonly ObjectDeclaration[];
  /** When the watchdog first cancels everything, in seconds. */
  readonly deadline: number;
  /** Whether tasks start eagerly. */
  readonly eager?: boolean;
  /** The root body is `"main"`. */
  readonly bodies: Readonly<Record<string, Statements>>;
}

/** A file of programs. */
export interface ProgramFile {
  readonly format: number;
  readonly family: string;
  readonly programs: readonly ProgramRecord[];
}

/** Something a program finds in its name space. */
export type ObjectDeclaration =
  | readonly [name: string, kind: "future" | "lock" | "event"]
  | readonly [name: string, kind: "cond", lock?: string | null]
  | readonly [
    name: string,
    kind:
      | "sem"
      | "bsem"
      | "barrier"
      | "queue"
      | "pqueue"
      | "lqueue"
      | "var",
    n: number,
  ];

/** The errors that programs raise. */
export type UserErrorName = "ErrA" | "ErrB" | "ErrC";

/** What `if` asks. */
export type Question =
  | readonly ["done", x: string]
  | readonly ["is_set", e: string]
  | readonly ["locked", l: string]
  | readonly ["ge", v: string, n: number]
  | readonly ["empty", q: string];

/** A handler of `try`: the names of the errors it is for, and what it does. */
export type Handler = readonly [names: readonly string[], block: Statements];

/** Statements, to be executed one after the other. */
export type Statements = readonly Statement[];

/** One statement. */
export type Statement =
  // Control
  | readonly ["log", text: string]
  | readonly ["whoami"]
  | readonly ["set" | "add", v: string, n: number]
  | readonly ["if", question: Question, then: Statements, otherwise: Statements]
  | readonly ["repeat", n: number, block: Statements]
  | readonly [
    "try",
    block: Statements,
    handlers: readonly Handler[],
    last: Statements | null,
  ]
  | readonly ["raise", error: UserErrorName, message: string | null]
  | readonly ["reraise"]
  | readonly ["return", value: unknown]
  // Callbacks of the loop
  | readonly ["call_soon", h: string, callback: Statements]
  | readonly ["call_later", h: string, delay: number, callback: Statements]
  | readonly ["call_at", h: string, when: number, callback: Statements]
  | readonly ["hcancel", h: string]
  // Tasks and futures
  | readonly ["spawn", t: string, body: string]
  | readonly ["cancel", x: string, message: string | null]
  | readonly ["uncancel" | "cancelling", x: string]
  | readonly ["new_future", f: string]
  | readonly ["set_result", f: string, value: unknown]
  | readonly [
    "set_exception",
    f: string,
    error: UserErrorName,
    message: string | null,
  ]
  | readonly ["result" | "exception" | "state", x: string]
  | readonly ["add_cb", x: string, n: string, callback: Statements]
  | readonly ["remove_cb", x: string, n: string]
  | readonly ["let", g: string, awaitable: Awaitable]
  // Synchronisation
  | readonly ["event_set" | "event_clear", e: string]
  | readonly ["release" | "locked", l: string]
  | readonly ["notify", c: string, n: number]
  | readonly ["notify_all", c: string]
  | readonly ["barrier_info", b: string]
  | readonly ["put_nowait", q: string, value: number]
  | readonly ["get_nowait" | "task_done" | "qinfo", q: string]
  | readonly ["shutdown", q: string, immediate: boolean]
  | readonly ["reschedule", tm: string, delta: number | null]
  | readonly ["expired", tm: string]
  | readonly ["gspawn", g: string, t: string, body: string]
  // Statements that wait
  | readonly ["await", awaitable: Awaitable]
  | readonly ["with", l: string, block: Statements]
  | readonly ["timeout", tm: string, delay: number | null, block: Statements]
  | readonly ["timeout_at", tm: string, when: number | null, block: Statements]
  | readonly ["group", g: string, block: Statements]
  | readonly [
    "as_completed",
    names: readonly string[],
    timeout: number | null,
    catches: boolean,
  ]
  | readonly [
    "as_completed_async",
    names: readonly string[],
    timeout: number | null,
  ];

/** When `wait` is over. */
export type ReturnWhen =
  | "FIRST_COMPLETED"
  | "FIRST_EXCEPTION"
  | "ALL_COMPLETED";

/** An expression for something to wait for: a name, or an operator and its arguments. */
export type Awaitable =
  | string
  | readonly ["co", body: string, label: string]
  | readonly ["sleep", delay: number, value?: unknown]
  | readonly ["shield", awaitable: Awaitable]
  | readonly [
    "gather",
    returnExceptions: boolean,
    awaitable: readonly Awaitable[],
  ]
  | readonly ["wait_for", awaitable: Awaitable, timeout: number | null]
  | readonly [
    "wait",
    names: readonly string[],
    timeout: number | null,
    mode: ReturnWhen,
  ]
  | readonly ["event_wait", e: string]
  | readonly ["acquire", l: string]
  | readonly ["cond_wait", c: string]
  | readonly ["cond_wait_for", c: string, v: string, n: number]
  | readonly ["barrier_wait" | "barrier_abort" | "barrier_reset", b: string]
  | readonly ["get" | "join", q: string]
  | readonly ["put", q: string, value: number];

/** Something is wrong with a program, or an error got into it that the language does not know. */
export class ProgramError extends Error {
  static {
    this.prototype.name = "ProgramError";
  }
}

/** The names a statement looks up before it does anything, in this order. */
export function namesIn(statement: Statement): readonly string[] {
  switch (statement[0]) {
    case "log":
    case "whoami":
    case "repeat":
    case "try":
    case "raise":
    case "reraise":
    case "return":
    // These only bind the name they are given.
    case "call_soon":
    case "call_later":
    case "call_at":
    case "spawn":
    case "new_future":
    case "timeout":
    case "timeout_at":
    case "group":
      return [];
    case "if":
      return [statement[1][1]];
    case "await":
      return namesInAwaitable(statement[1]);
    case "let":
      return namesInAwaitable(statement[2]);
    case "as_completed":
    case "as_completed_async":
      return statement[1];
    case "set":
    case "add":
    case "hcancel":
    case "cancel":
    case "uncancel":
    case "cancelling":
    case "set_result":
    case "set_exception":
    case "result":
    case "exception":
    case "state":
    case "add_cb":
    case "remove_cb":
    case "event_set":
    case "event_clear":
    case "release":
    case "locked":
    case "notify":
    case "notify_all":
    case "barrier_info":
    case "put_nowait":
    case "get_nowait":
    case "task_done":
    case "qinfo":
    case "shutdown":
    case "reschedule":
    case "expired":
    case "gspawn":
    case "with":
      return [statement[1]];
    default:
      return unknown("statement", statement);
  }
}

function namesInAwaitable(awaitable: Awaitable): readonly string[] {
  if (typeof awaitable === "string") return [awaitable];
  switch (awaitable[0]) {
    case "co":
    case "sleep":
      return [];
    case "shield":
    case "wait_for":
      return namesInAwaitable(awaitable[1]);
    case "gather":
      return awaitable[2].flatMap(namesInAwaitable);
    case "wait":
      return awaitable[1];
    case "cond_wait_for":
      return [awaitable[1], awaitable[2]];
    case "event_wait":
    case "acquire":
    case "cond_wait":
    case "barrier_wait":
    case "barrier_abort":
    case "barrier_reset":
    case "get":
    case "join":
    case "put":
      return [awaitable[1]];
    default:
      return unknown("awaitable", awaitable);
  }
}

/** For the last branch of a switch: the program has something that the language has not. */
export function unknown(what: string, value: never): never {
  throw new ProgramError(`unknown ${what} ${JSON.stringify(value)}`);
}
