/**
 * The parts of the clients of NATS that are used: types only, as the clients are
 * passed in.
 *
 * @module
 */

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
  ): Promise<{ readonly seq: number }>;
}

/** Part of the manager of `@nats-io/jetstream` that is used. */
export interface JetStreamManager {
  /** Streams. */
  readonly streams: {
    /** Adds a stream, unless there is one of the same configuration. */
    add(config: never): Promise<unknown>;
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
