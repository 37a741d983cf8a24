/**
 * Stands in for `jsr:@std/testing/types` where jsr.io cannot be reached: checks
 * that the compiler makes. Without `links` in deno.json the original is used.
 *
 * @module
 */

/** Compiles only if the condition `T` comes out as the literal that is given. */
export function assertType<T extends boolean>(_expectTrue: T): void {}

/** Compiles only if `T` is true. */
export type AssertTrue<T extends true> = T extends true ? never : never;

/** Compiles only if `T` is false. */
export type AssertFalse<T extends false> = T extends false ? never : never;

/** Compiles only if `Expected` is `T`. */
export type Assert<T extends boolean, Expected extends T> = Expected extends T
  ? never
  : never;

/** Whether `T` is `any`: nothing else swallows both 0 and 1. */
export type IsAny<T> = 0 extends (1 & T) ? true : false;

/** Whether `T` is `never`. */
export type IsNever<T> = [T] extends [never] ? true : false;

/** Whether `T` is `unknown`; `any` is not. */
export type IsUnknown<T> = IsAny<T> extends true ? false
  : unknown extends T ? true
  : false;

/** Whether `T` and `U` are the same type, `any` and `readonly` included. */
export type IsExact<T, U> = Same<Flat<T>, Flat<U>>;

/** Whether one of the members of `T` is `U`. */
export type Has<T, U> = IsAny<T> extends true ? true
  : IsAny<U> extends true ? false
  : IsNever<Extract<T, U>> extends true ? false
  : true;

/** Whether none of the members of `T` is `U`. */
export type NotHas<T, U> = Has<T, U> extends false ? true : false;

/** Whether `T` names null or undefined; `any` and `unknown` do not. */
export type IsNullable<T> = IsUnknown<T> extends true ? false
  : [T] extends [NonNullable<T>] ? false
  : true;

// Two generic functions are mutually assignable only if the compiler holds the
// right sides of their conditions for identical.
type Same<T, U> = (<X>() => X extends T ? 1 : 2) extends
  (<X>() => X extends U ? 1 : 2) ? true : false;

// Writes `{ a: 1 } & { b: 2 }` as `{ a: 1; b: 2 }`, which the comparison above
// would tell apart.
type Flat<T> = IsAny<T> extends true ? T
  : T extends Record<PropertyKey, unknown> ? { [K in keyof T]: Flat<T[K]> }
  : T;
