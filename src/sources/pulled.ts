/**
 * Sources that are asked for each item by a promise: streams, and watchers of files.
 *
 * @module
 */
import { watchFiles } from "../host/event_sources.ts";
import { checkOptions, inspect } from "../loop/checks.ts";
import type { Operation } from "../loop/operation.ts";
import { until } from "../loop/until.ts";
import { Source } from "./source.ts";
import type { SourceKind, SourceOptions } from "./source_options.ts";

/** How many items may follow one another without a turn of the loop in between. */
const READS_MAX = 64;

/** Asks for one item after the other, and never for two at a time. */
abstract class PulledSource<T> extends Source<T> {
  readonly #waits: boolean;
  #reading = false;
  /** Items that came since the last turn. */
  #reads = 0;

  constructor(options: SourceOptions, kind: SourceKind) {
    super(options, kind);
    this.#waits = kind.cannotBlock === null &&
      (options.overflow ?? "block") === "block";
  }

  /** Asks for the next item. */
  protected abstract read(): Promise<IteratorResult<T, unknown>>;

  /** Whether an item is owed. */
  protected get isReading(): boolean {
    return this.#reading;
  }

  /** Goes on reading, if there is room. */
  protected pull(): void {
    if (this.#reading || this.closed || this.#waits && this.isFull) return;
    this.#reading = true;
    if (++this.#reads < READS_MAX) this.#read();
    else this.loop.callSoon(this.#readAnew);
  }

  /** Without this turn, a source that has everything at once would let nothing else run. */
  readonly #readAnew = (): void => {
    this.#reads = 0;
    if (this.closed) this.#reading = false;
    else this.#read();
  };

  #read(): void {
    this.read().then(this.#came, this.#failed);
  }

  readonly #came = (step: IteratorResult<T, unknown>): void => {
    this.#reading = false;
    if (step.done === true) this.end();
    else {
      this.deliver(step.value);
      this.pull();
    }
  };

  readonly #failed = (error: unknown): void => {
    this.#reading = false;
    this.fail(error);
  };

  protected override taken(): void {
    if (this.#waits) this.pull();
  }
}

const STREAM = "read from a stream";

class StreamItems<T> extends PulledSource<T> {
  readonly #reader: ReadableStreamDefaultReader<T>;
  #cancelled: Promise<void> | null = null;
  #isOver = false;

  constructor(stream: ReadableStream<T>, options: SourceOptions) {
    super(options, {
      what: STREAM,
      name: "fromStream()",
      cannotBlock: null,
      outside: "always",
    });
    this.#reader = stream.getReader();
    this.begin(options.signal);
  }

  protected override wanted(): void {
    this.pull();
  }

  protected async read(): Promise<IteratorResult<T, unknown>> {
    try {
      const step = await this.#reader.read();
      if (step.done) this.#isOver = true;
      return step as IteratorResult<T, unknown>;
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  protected release(): void {
    if (!this.#isOver) {
      const isOwed = this.isReading;
      const cancelled = this.#reader.cancel().catch((error) =>
        this.report(error, "failed to close its stream")
      );
      // A stream that owes a chunk may take for ever to close.
      if (!isOwed) this.#cancelled = cancelled;
    }
    this.#reader.releaseLock();
  }

  protected override cleanUp(): Operation<unknown> | undefined {
    const cancelled = this.#cancelled;
    return cancelled === null ? undefined : until(cancelled);
  }
}

/**
 * Takes over a stream, and returns its chunks as a source.
 *
 * The stream is locked when the call returns; the first chunk is requested by the first
 * wait. From then on up to `buffer` chunks are read ahead. A stream can wait, so that is
 * what happens when the buffer is full; with another policy the stream is read as fast as
 * it gives chunks. An error of the stream is thrown after the chunks before it. Leaving the
 * source cancels the stream, and waits for that, unless the stream owes a chunk.
 *
 * While somebody waits for a chunk, a virtual clock stands still.
 *
 * @example
 * ```ts
 * import { each, fromStream, run } from "@rota/rota";
 * import { assertEquals } from "@std/assert";
 *
 * const words: string[] = [];
 * await run(function* () {
 *   const stream = ReadableStream.from(["a", "b", "c"]);
 *   yield* each(fromStream(stream, { buffer: 8 }), function* (word) {
 *     words.push(word);
 *   });
 * });
 * assertEquals(words, ["a", "b", "c"]);
 * ```
 *
 * @typeParam T Type of the chunks.
 * @param stream A stream that is not locked.
 * @param options Size of the buffer, policy, a signal.
 * @returns The source, which has locked the stream.
 * @throws {TypeError} If `stream` is not a `ReadableStream` or is locked, or an option is of
 * the wrong type.
 * @throws {RangeError} If `buffer` is not an integer >= 1.
 * @throws {MisuseError} If no loop is running.
 */
export function fromStream<T>(
  stream: ReadableStream<T>,
  options: SourceOptions = {},
): Source<T> {
  if (!(stream instanceof ReadableStream)) {
    throw new TypeError(
      `Cannot ${STREAM} as stream must be a ReadableStream: received ${
        inspect(stream)
      }`,
    );
  }
  if (stream.locked) {
    throw new TypeError(
      `Cannot ${STREAM} as stream must not be locked: received a locked one`,
    );
  }
  return new StreamItems(stream, options);
}

/** Options of {@linkcode fromFsEvents}. */
export interface FsEventsOptions extends SourceOptions {
  /**
   * Whether what is in folders of a folder counts too.
   *
   * @default {true}
   */
  readonly recursive?: boolean | undefined;
}

const WATCH = "watch files";

class FsEvents extends PulledSource<Deno.FsEvent> {
  readonly #watcher: Deno.FsWatcher;
  readonly #events: AsyncIterator<Deno.FsEvent>;

  constructor(paths: string | string[], options: FsEventsOptions) {
    super(options, {
      what: WATCH,
      name: "fromFsEvents()",
      cannotBlock: "changes of files cannot be made to wait",
      outside: "always",
    });
    this.#watcher = watchFiles(paths, options.recursive ?? true);
    this.#events = this.#watcher[Symbol.asyncIterator]();
    this.begin(options.signal);
    this.pull();
  }

  protected read(): Promise<IteratorResult<Deno.FsEvent, unknown>> {
    return this.#events.next();
  }

  protected release(): void {
    try {
      this.#watcher.close();
    } catch (error) {
      // A watcher that has ended by itself is closed already.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}

/**
 * Watches files and folders, and returns the changes as a source.
 *
 * The watch has begun when the call returns: a change after it is reported. The runtime
 * keeps only a few events, and drops more without a word: so they are taken from it at once
 * and kept here, up to `buffer`. `"block"` is refused. Systems report one change as several
 * events, and in their own order.
 *
 * @example
 * ```ts
 * import { each, fromFsEvents, run } from "@rota/rota";
 *
 * const folder = await Deno.makeTempDir();
 * await run(function* () {
 *   const changes = fromFsEvents(folder);
 *   Deno.writeTextFileSync(`${folder}/a.txt`, "hello");
 *   yield* each(changes, ({ paths }, stop) => {
 *     if (paths.some((path) => path.endsWith("a.txt"))) stop();
 *   });
 * });
 * await Deno.remove(folder, { recursive: true });
 * ```
 *
 * @param paths A path, or several. Needs `--allow-read`.
 * @param options Whether folders of folders count; size of the buffer, policy, a signal.
 * @returns The source, which watches already.
 * @throws {TypeError} If an argument is of the wrong type, or `overflow` is `"block"`.
 * @throws {RangeError} If `buffer` is not an integer >= 1.
 * @throws {Deno.errors.NotFound} If a path does not exist.
 * @throws {MisuseError} If no loop is running.
 */
export function fromFsEvents(
  paths: string | readonly string[],
  options: FsEventsOptions = {},
): Source<Deno.FsEvent> {
  const list = typeof paths === "string" ? [paths] : paths;
  if (!Array.isArray(list) || list.some((path) => typeof path !== "string")) {
    throw new TypeError(
      `Cannot ${WATCH} as paths must be a string or an array of strings: received ${
        inspect(paths)
      }`,
    );
  }
  if (list.length === 0) {
    throw new RangeError(
      `Cannot ${WATCH} as paths must not be empty: received an empty array`,
    );
  }
  checkOptions(options, WATCH);
  const { recursive } = options;
  if (recursive !== undefined && typeof recursive !== "boolean") {
    throw new TypeError(
      `Cannot ${WATCH} as recursive must be a boolean: received ${
        inspect(recursive)
      }`,
    );
  }
  return new FsEvents([...list], options);
}
