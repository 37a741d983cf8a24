/**
 * The streams of a fleet: how they are made, the messages of jobs, the states of jobs; and the parts of the clients of NATS that are
 * used, which are passed in.
 *
 * @module
 */
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type { EngineRoles, Json, RemoteOutcome } from "./engine.ts";

/** Priorities, the highest first. */
export const CLASSES = ["high", "normal", "low"] as const;
/** Nanoseconds of a millisecond. */
export const NANOS = 1_000_000;
/** How long after the delay of a job others are told: the server has to have it back by then. */
const LATER_MS = 5;

/** Message of a job. */
export interface JobMessage {
  readonly id: string;
  readonly payload: Json;
  /** Moment of the wall clock before which it is not begun. */
  readonly notBeforeMs: number;
  readonly dedupeKey: string | null;
  readonly attempts: number;
}

/** Part of a message of NATS that is used. */
export interface NatsMessage {
  /** Subject to which it was published. */
  readonly subject: string;
  /** Subject for the answer. */
  readonly reply?: string | undefined;
  /** Headers; those of a status have a code. */
  readonly headers?: { readonly code: number } | undefined;
  /** Returns the payload as text. */
  string(): string;
  /** Answers it. */
  respond(payload?: string): boolean;
}

/** Part of a subscription of NATS that is used. */
export interface NatsSubscription {
  /** Ends it. */
  unsubscribe(): void;
}

/** Part of a connection of `@nats-io/nats-core` that is used. */
export interface NatsConnection {
  /** Publishes a message. */
  publish(subject: string, payload?: string): void;
  /** Subscribes to a subject. */
  subscribe(
    subject: string,
    options: {
      callback: (error: Error | null, message: NatsMessage) => void;
    },
  ): NatsSubscription;
  /** Publishes a message, and waits for one answer. */
  request(
    subject: string,
    payload: string,
    options: { timeout: number; noMux?: boolean },
  ): Promise<NatsMessage>;
}

/** Messages that tell other workers to look for jobs, also once the delay of a job is over. Workers look now and then in any case. */
export class Pokes {
  readonly #loop: EventLoop;
  readonly #connection: NatsConnection;
  readonly #subject: string;
  readonly #timers: Set<TimerHandle> = new Set();

  /** Makes the pokes of a worker. */
  constructor(loop: EventLoop, connection: NatsConnection, subject: string) {
    this.#loop = loop;
    this.#connection = connection;
    this.#subject = subject;
  }

  /** Pokes after a delay; at once if it is 0. */
  after(delayMs: number): void {
    if (delayMs === 0) {
      this.#poke();
      return;
    }
    const timer = this.#loop.callLater(delayMs + LATER_MS, () => {
      this.#timers.delete(timer);
      this.#poke();
    });
    this.#timers.add(timer);
  }

  /** Drops those that are due later. */
  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  #poke(): void {
    try {
      this.#connection.publish(this.#subject);
    } catch {
      // The program has closed the connection: others look for themselves.
    }
  }
}

/** Part of the client of `@nats-io/jetstream` that is used. */
export interface JetStreamClient {
  /** Adds a message to a stream. */
  publish(
    subject: string,
    payload: string,
    options?: {
      msgID?: string;
      expect?: { lastSubjectSequence?: number };
    },
  ): Promise<{ readonly seq: number; readonly duplicate?: boolean }>;
}

/** Part of the manager of `@nats-io/jetstream` that is used. */
export interface JetStreamManager {
  /** Streams. */
  readonly streams: {
    /** Adds a stream, unless there is one of the same configuration. */
    add(config: never): Promise<unknown>;
    /** Changes the configuration of a stream. */
    update(name: string, config: never): Promise<unknown>;
    /** Returns a message, or null. */
    getMessage(
      stream: string,
      query: never,
    ): Promise<{ readonly seq: number; string(): string } | null>;
    /** Removes a message. */
    deleteMessage(stream: string, seq: number): Promise<boolean>;
    /** Removes the messages of a subject. */
    purge(stream: string, options: never): Promise<unknown>;
  };
  /** Consumers. */
  readonly consumers: {
    /** Adds a consumer, unless there is one of the same configuration. */
    add(stream: string, config: never): Promise<unknown>;
  };
}

/** Code of the error that there is a stream of another configuration. */
const OTHER_STREAM = 10058;

/** Adds a stream; one that is there gets the configuration. */
export async function putStream(
  { streams }: JetStreamManager,
  name: string,
  config: object,
): Promise<void> {
  try {
    await streams.add({ name, ...config } as never);
  } catch (error) {
    if ((error as { code?: unknown }).code !== OTHER_STREAM) throw error;
    await streams.update(name, config as never);
  }
}

/** State of a job: leased, or its outcome; or the job that has a dedupe key. */
export type JobState =
  | { readonly kind: "leased" }
  | { readonly kind: "key"; readonly id: string }
  | RemoteOutcome;

/** Code of the error that another message has come between. */
const WRONG_SEQUENCE = 10071;

/** The last state of each job. A state is added only if the one before it is that which was expected. */
export class JetstreamStates {
  readonly #name: string;
  readonly #client: JetStreamClient;
  readonly #manager: JetStreamManager;

  constructor(
    name: string,
    client: JetStreamClient,
    manager: JetStreamManager,
  ) {
    this.#name = name;
    this.#client = client;
    this.#manager = manager;
  }

  get #stream(): string {
    return `${this.#name}_state`;
  }

  #subjectOf(id: string): string {
    return `${this.#name}.state.${id}`;
  }

  /** Adds a state if the last one has the sequence `seq`, 0 for none. Returns its sequence; null if the last one is another. */
  async follow(
    id: string,
    state: JobState,
    seq: number,
  ): Promise<number | null> {
    const payload = JSON.stringify(state);
    const expect = { lastSubjectSequence: seq };
    try {
      const added = await this.#client
        .publish(this.#subjectOf(id), payload, { expect });
      return added.seq;
    } catch (error) {
      if ((error as { code?: unknown }).code === WRONG_SEQUENCE) return null;
      throw error;
    }
  }

  /** Returns the last state, with its sequence; null if there is none. */
  async last(id: string): Promise<{ seq: number; state: JobState } | null> {
    const query = { last_by_subj: this.#subjectOf(id) };
    const found = await this.#manager.streams
      .getMessage(this.#stream, query as never);
    if (found === null) return null;
    return { seq: found.seq, state: JSON.parse(found.string()) };
  }

  /**
   * Takes a dedupe key for a job.
   *
   * @param isOpen Whether another job has not ended.
   * @returns The id of the job that has the key.
   */
  async takeKey(
    key: string,
    id: string,
    isOpen: (id: string) => Promise<boolean>,
  ): Promise<string> {
    const holder = nameOfKey(key);
    for (;;) {
      const state = { kind: "key", id } as const;
      if (await this.follow(holder, state, 0) !== null) return id;
      const last = await this.last(holder);
      if (last === null) continue;
      if (last.state.kind !== "key") {
        throw new TypeError(`the holder of the key ${key} is damaged`);
      }
      const other = last.state.id;
      if (other === id || await isOpen(other)) return other;
      await this.freeKey(key); // its worker has died before it could
    }
  }

  /** Lets go of a dedupe key. */
  async freeKey(key: string): Promise<void> {
    const filter = this.#subjectOf(nameOfKey(key));
    await this.#manager.streams.purge(this.#stream, { filter } as never);
  }
}

/** Name of a dedupe key among the ids of jobs. */
function nameOfKey(key: string): string {
  return `key-${new TextEncoder().encode(key).toHex()}`;
}

/** Makes the streams and consumers of a fleet, if they are not there. */
export async function addStreams(
  manager: JetStreamManager,
  name: string,
  { leaseMs, keepResultsMs, keepFailedMs }: EngineRoles,
): Promise<void> {
  await manager.streams.add({
    name,
    subjects: [`${name}.job.*.*`],
    retention: "workqueue",
  } as never);
  await putStream(manager, `${name}_state`, {
    subjects: [`${name}.state.*`],
    max_msgs_per_subject: 1,
    max_age: agedNanos(Math.max(keepResultsMs, keepFailedMs)),
  } as never);
  for (const kind of CLASSES) {
    await manager.consumers.add(name, {
      durable_name: kind,
      filter_subject: `${name}.job.${kind}.*`,
      ack_policy: "explicit",
      ack_wait: leaseMs * NANOS,
      max_ack_pending: -1,
    } as never);
  }
}

/** An age for the server, where 0 stands for no limit. */
function agedNanos(ms: number): number {
  return ms === Infinity ? 0 : Math.ceil(ms) * NANOS;
}

/** Whether the client refuses to send something of that size. */
export function isTooLarge(error: unknown): error is Error {
  return error instanceof Error && error.message.includes("max_payload");
}

/** The value of a text; the text itself if it is no JSON. */
export function valueOf(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Reads the message of a job; null if it is none. */
export function readJob(text: string): JobMessage | null {
  const value = valueOf(text) as Partial<JobMessage> | null;
  if (typeof value !== "object" || value === null) return null;
  const { id, payload, notBeforeMs, attempts, dedupeKey } = value;
  const isJob = typeof id === "string" && /^[\w-]+$/.test(id) &&
    payload !== undefined && typeof notBeforeMs === "number" &&
    typeof attempts === "number" &&
    (dedupeKey === null || typeof dedupeKey === "string");
  return isJob ? { id, payload, notBeforeMs, attempts, dedupeKey } : null;
}
