/**
 * Sources of events that the runtime opens: web sockets and watchers of files.
 *
 * @module
 */

/** Opens a web socket to `url`. Throws if the URL or a protocol is malformed. */
export function openWebSocket(
  url: string | URL,
  protocols: readonly string[],
): WebSocket {
  return new WebSocket(url, [...protocols]);
}

/** Whether `value` is a web socket of the runtime, and not something that behaves like one. */
export function isRuntimeSocket(value: unknown): boolean {
  return value instanceof WebSocket;
}

/** Begins to watch files and folders. Throws what the runtime throws: a missing permission or file. */
export function watchFiles(
  paths: string | string[],
  recursive: boolean,
): Deno.FsWatcher {
  return Deno.watchFs(paths, { recursive });
}
