/**
 * Setting of a thread: which hosts `"auto"` may choose.
 *
 * @module
 */

/**
 * Whether `"auto"` may choose a native host. The entry script of a thread sets
 * it to false: a thread that is killed while it waits in native code lives on
 * in there for ever.
 */
export const autoHost: { mayBeNative: boolean } = { mayBeNative: true };
