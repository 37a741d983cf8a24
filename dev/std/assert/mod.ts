/**
 * Stands in for `jsr:@std/assert` where jsr.io cannot be reached: the same
 * functions, from the npm build, with types that are never looser than the
 * originals. Without `links` in deno.json the original is used.
 *
 * @module
 */

// @ts-types="./types.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
