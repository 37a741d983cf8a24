export interface PollOptions {
  signal?: AbortSignal;
  interval?: number;
}

export declare function poll<T>(
  fn: () => T,
  isDone: (result: Awaited<T>) => boolean,
  options?: PollOptions,
): Promise<Awaited<T>>;
