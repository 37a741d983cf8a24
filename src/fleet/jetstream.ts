/**
 * Engine for JetStream of NATS, whose clients are passed in.
 *
 * Two streams make a fleet: `<name>` has the jobs that have not ended, on a subject
 * for each of three priorities, and `<name>_state` has one message for each job, its
 * lease or its outcome.
 *
 * | Here | In JetStream |
 * |---|---|
 * | lease | a delivery, renewed by `+WPI`; and a message in the stream of states |
 * | fencing token | the sequence of that message |
 * | verdict | the next message for the job, which the server refuses if another came between |
 * | retry, release | `-NAK` with a delay |
 * | dead worker | a delivery that was not acknowledged in time |
 * | cancellation | a request to the holder, else removal of the message |
 *
 * Runs whose worker has died count as attempts.
 *
 * @module
 */
import { wallClockMs } from "../host/clock.ts";
import { checkOptions, checkString, inspect } from "../loop/checks.ts";
import { getRunningLoop } from "../loop/current.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { TimerHandle } from "../loop/timer_handle.ts";
import type {
  EngineListener,
  EngineRoles,
  RemoteEngine,
  RemoteLease,
  RemoteOutcome,
  RemoteRequest,
  RemoteStanding,
  RemoteVerdict,
} from "./engine.ts";
import {
  addStreams,
  CLASSES,
  isTooLarge,
  type JetStreamClient,
  type JetStreamManager,
  JetstreamStates,
  type JobMessage,
  type JobState,
  NANOS,
  type NatsConnection,
  type NatsMessage,
  type NatsSubscription,
  Pokes,
  readJob,
  valueOf,
} from "./jetstream_states.ts";
import { RemoteExecutor } from "./remote_executor.ts";
import type { RemoteExecutorOptions } from "./remote_options.ts";

/** Options of {@linkcode jetstreamExecutor}. */
export interface JetstreamExecutorOptions extends RemoteExecutorOptions {
  /** A connection of `@nats-io/transport-node` or the like. It stays open at the end. */
  readonly connection: NatsConnection;
  /** The function of that name of `@nats-io/jetstream`. */
  readonly jetstream: (connection: never, options: never) => JetStreamClient;
  /** The function of that name of `@nats-io/jetstream`. */
  readonly jetstreamManager: (
    connection: never,
    options: never,
  ) => Promise<JetStreamManager>;
  /**
   * Name of the fleet: of its streams, and the first part of its subjects.
   *
   * @default {"rota"}
   */
  readonly queue?: string | undefined;
}

const CREATE = "create a JetStream executor";
/** Times that a lease is renewed while it would hold. */
const RENEWALS = 3;
/** How long a server may take to answer. */
const ANSWER_MS = 2_000;
/** How long the holder of a job may take to say that it has heard of a cancellation. */
const HOLDER_MS = 500;
/** How often an idle worker looks for jobs that have come back, at least. */
const POLL_MS = 1_000;
/** How soon after a job was given back it can be taken. */
const AGAIN_MS = 30;
/** A delivery of a job. */
interface Delivery {
  readonly job: JobMessage;
  /** Subject for acknowledgements. */
  readonly reply: string;
  readonly count: number;
  /** Sequence of the lease. */
  token: number;
  lease: RemoteLease | null;
  renewedMs: number;
  isLost: boolean;
}

/** Engine over two streams. */
class JetstreamEngine implements RemoteEngine {
  readonly inWords: string;
  readonly isOutside = true;
  readonly #options: JetstreamExecutorOptions;
  readonly #connection: NatsConnection;
  readonly #name: string;
  readonly #loop: EventLoop = getRunningLoop();
  #client!: JetStreamClient;
  #manager: JetStreamManager | null = null;
  #states!: JetstreamStates;
  #listener!: EngineListener;
  #roles!: EngineRoles;
  readonly #subscriptions: NatsSubscription[] = [];
  readonly #held = new Map<string, Delivery>();
  #run: ((lease: RemoteLease) => Promise<RemoteVerdict>) | null = null;
  #concurrency = 0;
  #leases = 0;
  #isPulling = false;
  #mustPull = false;
  #isStopped = false;
  #stopped: (() => void) | null = null;
  #renewal: TimerHandle | null = null;
  #poll: TimerHandle | null = null;
  readonly #pokes: Pokes;
  #again: TimerHandle | null = null;

  constructor(options: JetstreamExecutorOptions) {
    const { queue = "rota", connection } = options;
    this.#options = options;
    this.#connection = connection;
    this.#name = queue;
    this.#pokes = new Pokes(this.#loop, connection, `${queue}.poke`);
    this.inWords = `JetStream "${queue}"`;
  }

  async open(listener: EngineListener, roles: EngineRoles): Promise<void> {
    this.#listener = listener;
    this.#roles = roles;
    const { jetstream, jetstreamManager } = this.#options;
    const connection = this.#connection as never;
    const answered = { timeout: ANSWER_MS } as never;
    this.#client = jetstream(connection, answered);
    const manager = await jetstreamManager(connection, answered);
    await addStreams(manager, this.#name, this.#roles);
    this.#manager = manager;
    this.#states = new JetstreamStates(this.#name, this.#client, manager);
    if (roles.submits && !this.#isStopped) this.#hear();
  }

  #subscribe(subject: string, fn: (message: NatsMessage) => void): void {
    const callback = (error: Error | null, message: NatsMessage) => {
      if (error === null) fn(message);
      else this.#listener.failed(error);
    };
    this.#subscriptions.push(
      this.#connection.subscribe(`${this.#name}.${subject}`, { callback }),
    );
  }

  // -- Submitting --

  #hear(): void {
    const listener = this.#listener;
    const idOf = ({ subject }: NatsMessage) =>
      subject.slice(subject.lastIndexOf(".") + 1);
    this.#subscribe("state.*", (message) => {
      const id = idOf(message);
      if (!listener.awaits(id)) return;
      const state = JSON.parse(message.string()) as JobState;
      if (state.kind === "leased") listener.begun(id);
      else if (state.kind !== "key") listener.ended(id, state);
    });
    this.#subscribe("progress.*", (message) => {
      const id = idOf(message);
      if (listener.awaits(id)) listener.progressed(id, message.string());
    });
  }

  add(
    requests: readonly RemoteRequest[],
  ): Promise<readonly (string | Error)[]> {
    return Promise.all(requests.map(async (request) => {
      try {
        return await this.#addOne(request);
      } catch (error) {
        if (isTooLarge(error)) return error;
        throw error;
      }
    }));
  }

  async #addOne(request: RemoteRequest): Promise<string> {
    const { id, payload, rank, delayMs, attempts, dedupeKey } = request;
    if (dedupeKey !== null) {
      const other = await this.#states.takeKey(dedupeKey, id, async (other) => {
        const [standing] = await this.find([other]);
        return standing!.kind === "open";
      });
      if (other !== id) return other;
    }
    const kind = rank > 0 ? "high" : rank < 0 ? "low" : "normal";
    const notBeforeMs = delayMs === 0 ? 0 : wallClockMs() + delayMs;
    const job = { id, payload, notBeforeMs, attempts, dedupeKey };
    const subject = `${this.#name}.job.${kind}.${id}`;
    const text = JSON.stringify(job);
    const added = await this.#client.publish(subject, text, { msgID: id });
    if (added.duplicate && await this.#standingOf(id) === null) {
      // The server remembers the job, but has lost it.
      const msgID = `${id}-${crypto.randomUUID()}`;
      await this.#client.publish(subject, text, { msgID });
    }
    return id;
  }

  /** Sequence of the message of a job; null if there is none: it has not been added, or it has ended. */
  async #sequenceOf(id: string): Promise<number | null> {
    const query = { next_by_subj: `${this.#name}.job.*.${id}` };
    const found = await this.#manager!.streams
      .getMessage(this.#name, query as never);
    return found?.seq ?? null;
  }

  /** Returns null if nothing is known of a job. */
  async #standingOf(id: string): Promise<RemoteStanding | null> {
    // The message goes when the outcome is there: it may come between two looks.
    for (let looks = 0; looks < 2; looks++) {
      const last = await this.#states.last(id);
      const state = last?.state ?? { kind: "leased" };
      if (state.kind !== "leased") return state as RemoteStanding;
      if (await this.#sequenceOf(id) !== null) return { kind: "open" };
    }
    return null;
  }

  find(ids: readonly string[]): Promise<readonly RemoteStanding[]> {
    return Promise.all(
      ids.map(async (id) => await this.#standingOf(id) ?? { kind: "unknown" }),
    );
  }

  async cancel(id: string, reason: string): Promise<boolean> {
    try {
      const subject = `${this.#name}.cancel.${id}`;
      await this.#connection.request(subject, reason, { timeout: HOLDER_MS });
      return false;
    } catch {
      // No worker holds it, or the holder cannot be reached.
    }
    if (await this.#states.last(id) !== null) return false;
    // From here on no worker can lease it: it has an outcome.
    if (await this.#states.follow(id, { kind: "removed" }, 0) === null) {
      return false;
    }
    const seq = await this.#sequenceOf(id).catch(() => null);
    const { streams } = this.#manager!;
    if (seq !== null) {
      await streams.deleteMessage(this.#name, seq).catch(() => {});
    }
    return true;
  }

  // -- Working --

  work(
    concurrency: number,
    run: (lease: RemoteLease) => Promise<RemoteVerdict>,
  ): void {
    this.#concurrency = concurrency;
    this.#run = run;
    // Core subscribers hear of each job that is added; of one that comes back, by "poke".
    this.#subscribe("job.*.*", () => this.#pull());
    this.#subscribe("poke", () => this.#pullTwice());
    this.#subscribe("cancel.*", (message) => {
      const id = message.subject.slice(message.subject.lastIndexOf(".") + 1);
      if (!this.#held.has(id)) return;
      message.respond("");
      this.#listener.cancelled(id, message.string());
    });
    this.#pullTwice();
  }

  /** Pulls now and soon: a server takes a moment to offer what was given back. */
  #pullTwice(): void {
    this.#pull();
    this.#again?.cancel();
    this.#again = this.#loop.callLater(AGAIN_MS, () => this.#pull());
  }

  /** Takes jobs while there are any, and there is room. */
  async #pull(): Promise<void> {
    this.#mustPull = true;
    if (this.#isPulling) return;
    this.#isPulling = true;
    try {
      while (this.#mustPull && this.#hasRoom()) {
        this.#mustPull = false;
        for (const kind of CLASSES) {
          if (!this.#hasRoom()) break;
          const message = await this.#next(kind);
          if (message === null) continue;
          if (this.#isStopped) {
            this.#nak(message.reply!, 0); // nobody would wait for it
            break;
          }
          this.#mustPull = true; // the highest priority again
          this.#leases++;
          this.#take(message);
          break;
        }
      }
    } catch (error) {
      this.#listener.failed(error);
    }
    this.#isPulling = false;
    this.#pollLater();
  }

  #hasRoom(): boolean {
    return !this.#isStopped && this.#leases < this.#concurrency;
  }

  /** Looks from time to time for jobs whose worker has died. */
  #pollLater(): void {
    if (this.#isStopped || this.#poll !== null) return;
    const everyMs = Math.min(this.#roles.leaseMs / 2, POLL_MS);
    this.#poll = this.#loop.callLater(everyMs, () => {
      this.#poll = null;
      this.#pull();
    });
  }

  /** Asks for the next job of a priority; null if there is none. */
  async #next(kind: string): Promise<NatsMessage | null> {
    const message = await this.#connection.request(
      `$JS.API.CONSUMER.MSG.NEXT.${this.#name}.${kind}`,
      JSON.stringify({ batch: 1, no_wait: true }),
      // The answer comes under the subject of the job, which a shared inbox misses.
      { timeout: ANSWER_MS, noMux: true },
    );
    return (message.headers?.code ?? 0) >= 300 ? null : message;
  }

  /** Leases a delivered job, runs it, and hands in the verdict. */
  async #take(message: NatsMessage): Promise<void> {
    try {
      const delivery = this.#read(message);
      if (await this.#lease(delivery)) await this.#work(delivery);
    } catch (error) {
      this.#listener.failed(error); // it is delivered again when its time is up
    }
    this.#leases--;
    if (this.#leases === 0) this.#stopped?.();
    this.#pull();
  }

  #read(message: NatsMessage): Delivery {
    const reply = message.reply!;
    const parts = reply.split(".");
    const count = Number(parts[parts.length > 9 ? 6 : 4]);
    // No submitter waits for what is no job, but its failure is to be seen.
    const job = readJob(message.string()) ?? {
      id: `unknown-${parts[parts.length > 9 ? 7 : 5]}`,
      ...{ notBeforeMs: 0, attempts: 1, dedupeKey: null },
      payload: valueOf(message.string()),
    };
    return {
      ...{ job, reply, count, token: 0, lease: null, isLost: false },
      renewedMs: this.#loop.time(),
    };
  }

  /** Notes in the stream of states that a job is leased. Returns false if it is not to run. */
  async #lease(delivery: Delivery): Promise<boolean> {
    const { job, reply, count } = delivery;
    const waitMs = job.notBeforeMs - wallClockMs();
    if (waitMs > 0) {
      this.#nak(reply, waitMs);
      return false;
    }
    const last = await this.#states.last(job.id);
    if (last !== null && last.state.kind !== "leased") {
      this.#connection.publish(reply, "+ACK"); // it has ended
      return false;
    }
    if (count > this.#roles.maxLostLeases + job.attempts) {
      const message = `it was begun ${count - 1} times`;
      const gone = { kind: "abandoned", message } as const;
      await this.#states.follow(job.id, gone, last?.seq ?? 0);
      this.#connection.publish(reply, "+TERM");
      return false;
    }
    const token = await this.#states
      .follow(job.id, { kind: "leased" }, last?.seq ?? 0);
    if (token === null) return false; // another worker was first
    delivery.token = token;
    return true;
  }

  async #work(delivery: Delivery): Promise<void> {
    const { job, count } = delivery;
    const { id } = job;
    const lease: RemoteLease = {
      ...{ id, payload: job.payload, fencingToken: delivery.token },
      attempt: job.notBeforeMs === 0 ? count : Math.max(1, count - 1),
      onLost: null,
      progress: (value) => this.#tell(id, value),
    };
    delivery.lease = lease;
    const older = this.#held.get(id);
    if (older !== undefined) this.#lose(older);
    this.#held.set(id, delivery);
    this.#renewLater();
    const verdict = await this.#run!(lease);
    if (this.#held.get(id) === delivery) this.#held.delete(id);
    if (!delivery.isLost) await this.#handIn(delivery, verdict);
  }

  #tell(id: string, progress: string): void {
    try {
      this.#connection.publish(`${this.#name}.progress.${id}`, progress);
    } catch (error) {
      this.#listener.failed(error); // too large, or the connection is closed
    }
  }

  async #handIn(delivery: Delivery, verdict: RemoteVerdict): Promise<void> {
    const { job, reply, token } = delivery;
    if (verdict.kind === "lost") return;
    if (verdict.kind === "release" || verdict.kind === "retry") {
      const last = await this.#states.last(job.id);
      if (last?.seq === token) this.#nak(reply, verdict.delayMs);
      return;
    }
    const outcome: RemoteOutcome = verdict.kind === "returned" ? verdict : {
      ...{ kind: "threw", error: verdict.error, message: verdict.message },
    };
    const seq = await this.#states.follow(job.id, outcome, token)
      .catch((error) => {
        if (!isTooLarge(error)) throw error;
        // Another run would end likewise.
        const { message } = error;
        const outcome = { kind: "threw", error: null, message } as const;
        return this.#states.follow(job.id, outcome, token);
      });
    if (seq === null) return; // the lease is another's
    this.#connection.publish(reply, "+ACK");
    if (job.dedupeKey === null) return;
    await this.#states.freeKey(job.dedupeKey);
  }

  /** Puts a job back, and wakes the workers when it is to be taken. */
  #nak(reply: string, delayMs: number): void {
    const delay = Math.ceil(delayMs) * NANOS;
    this.#connection.publish(reply, `-NAK ${JSON.stringify({ delay })}`);
    this.#pokes.after(delayMs);
  }

  // -- Renewals --

  #lose(delivery: Delivery): void {
    if (delivery.isLost) return;
    delivery.isLost = true;
    const { id } = delivery.job;
    if (this.#held.get(id) === delivery) this.#held.delete(id);
    delivery.lease?.onLost?.();
  }

  #renewLater(): void {
    if (this.#renewal !== null) return;
    this.#renewal = this.#loop.callLater(this.#roles.leaseMs / RENEWALS, () => {
      this.#renewal = null;
      for (const delivery of this.#held.values()) this.#renew(delivery);
      if (this.#held.size > 0) this.#renewLater();
    });
  }

  async #renew(delivery: Delivery): Promise<void> {
    const nowMs = this.#loop.time();
    if (nowMs - delivery.renewedMs > this.#roles.leaseMs) {
      return this.#lose(delivery); // NATS is away
    }
    try {
      this.#connection.publish(delivery.reply, "+WPI");
      const last = await this.#states.last(delivery.job.id);
      if (last?.seq === delivery.token) delivery.renewedMs = nowMs;
      else this.#lose(delivery);
    } catch (error) {
      this.#listener.failed(error); // tried again soon
    }
  }

  // -- The end --

  stop(): Promise<void> {
    this.#isStopped = true;
    this.#poll?.cancel();
    this.#again?.cancel();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stopped = resolve;
    if (this.#leases === 0) resolve();
    return promise;
  }

  // deno-lint-ignore require-await
  async close(): Promise<void> {
    this.#isStopped = true;
    this.#poll?.cancel();
    this.#again?.cancel();
    this.#renewal?.cancel();
    this.#pokes.close();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }
}

/**
 * Makes an executor whose jobs go through JetStream of NATS.
 *
 * The connection and the functions of the client are passed in. The streams are made
 * if they are not there; the server keeps them on its disk. Of priorities there are
 * three: above 0, 0, and below.
 *
 * `leaseMs` is that of the whole fleet, and so is the longer of `keepResultsMs` and
 * `keepFailedMs`: the program that was started last sets them.
 *
 * @example Jobs through NATS
 * ```ts ignore
 * import { jetstreamExecutor, run, taskModule } from "@rota/rota";
 * import { jetstream, jetstreamManager } from "@nats-io/jetstream";
 * import { connect } from "@nats-io/transport-node";
 *
 * const jobs = taskModule<typeof import("./jobs.ts")>(
 *   new URL("./jobs.ts", import.meta.url),
 * );
 * const connection = await connect({ maxReconnectAttempts: -1 });
 * await run(async () => {
 *   await using fleet = jetstreamExecutor({ connection, jetstream, jetstreamManager });
 *   console.log(await fleet.submit(jobs.resize, ["cat.png"]));
 * });
 * await connection.close();
 * ```
 *
 * @param options Connection, functions, role and so on.
 * @returns The executor.
 * @throws {TypeError} If the connection or a function is missing, or an option is of the wrong type.
 * @throws {RangeError} If a number is out of range.
 * @throws {MisuseError} If no loop is running.
 */
export function jetstreamExecutor(
  options: JetstreamExecutorOptions,
): RemoteExecutor {
  checkOptions(options, CREATE);
  const { queue = "rota", connection } = options;
  checkString(queue, CREATE, "queue");
  if (!/^[\w-]+$/.test(queue)) {
    throw new RangeError(
      `Cannot ${CREATE} as queue must be of letters, digits, - and _: received ${
        JSON.stringify(queue)
      }`,
    );
  }
  for (const name of ["jetstream", "jetstreamManager"] as const) {
    if (typeof options[name] === "function") continue;
    throw new TypeError(
      `Cannot ${CREATE} as ${name} must be the function of @nats-io/jetstream: received ${
        inspect(options[name])
      }`,
    );
  }
  if (typeof connection?.request !== "function") {
    throw new TypeError(
      `Cannot ${CREATE} as connection must be a connection of NATS: received ${
        inspect(connection)
      }`,
    );
  }
  return new RemoteExecutor(new JetstreamEngine(options), options);
}
