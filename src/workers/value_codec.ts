/**
 * Codec of values: {@linkcode writeValue} and {@linkcode readValue}, the reverse.
 *
 * @module
 */
export { readValue } from "./value_reader.ts";
export { writeValue } from "./value_writer.ts";
