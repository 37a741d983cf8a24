/**
 * Stands in for `jsr:@std/async` where jsr.io cannot be reached: the same
 * functions, from the npm build, with types that are never looser than the
 * originals. `Channel` is missing, as its file in the npm build does not load.
 * Without `links` in deno.json the original is used.
 *
 * @module
 */

// @ts-types="./types/abortable.d.ts"
export * from "npm:deno-std@1.4.0/async/abortable.js";
// @ts-types="./types/all_keyed.d.ts"
export * from "npm:deno-std@1.4.0/async/all_keyed.js";
// @ts-types="./types/deadline.d.ts"
export * from "npm:deno-std@1.4.0/async/deadline.js";
// @ts-types="./types/debounce.d.ts"
export * from "npm:deno-std@1.4.0/async/debounce.js";
// @ts-types="./types/delay.d.ts"
export * from "npm:deno-std@1.4.0/async/delay.js";
// @ts-types="./types/lazy.d.ts"
export * from "npm:deno-std@1.4.0/async/lazy.js";
// @ts-types="./types/mux_async_iterator.d.ts"
export * from "npm:deno-std@1.4.0/async/mux_async_iterator.js";
// @ts-types="./types/poll.d.ts"
export * from "npm:deno-std@1.4.0/async/poll.js";
// @ts-types="./types/pool.d.ts"
export * from "npm:deno-std@1.4.0/async/pool.js";
// @ts-types="./types/retry.d.ts"
export * from "npm:deno-std@1.4.0/async/retry.js";
// @ts-types="./types/tee.d.ts"
export * from "npm:deno-std@1.4.0/async/tee.js";
