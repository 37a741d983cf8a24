export type PromiseRecord<T extends Record<PropertyKey, unknown>> = {
  [K in keyof T]: PromiseLike<T[K]> | T[K];
};

export type SettledRecord<T extends Record<PropertyKey, unknown>> = {
  [K in keyof T]: PromiseSettledResult<T[K]>;
};

export declare function allKeyed<T extends Record<PropertyKey, unknown>>(
  record: PromiseRecord<T>,
): Promise<T>;

export declare function allSettledKeyed<
  T extends Record<PropertyKey, unknown>,
>(record: PromiseRecord<T>): Promise<SettledRecord<T>>;
