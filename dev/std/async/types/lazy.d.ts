export interface LazyGetOptions {
  signal?: AbortSignal;
}

export declare class Lazy<T> {
  constructor(init: () => T | Promise<T>);
  get(options?: LazyGetOptions): Promise<T>;
  get initialized(): boolean;
  peek(): { ok: true; value: T } | { ok: false };
  reset(): void;
}
