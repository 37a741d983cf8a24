/**
 * The process: its permissions, environment, standard error and end.
 *
 * @module
 */

/** Whether native libraries may be opened. Asks the runtime, never the user. */
export function ffiGranted(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** Whether the file of a `file:` URL may be read. Never asks the user. */
export function readGranted(file: string): boolean {
  const path = new URL(file);
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

/** Whether all files may be read. Never asks the user. */
export function allReadGranted(): boolean {
  return Deno.permissions.querySync({ name: "read" }).state === "granted";
}

/** Whether the inspector of the engine may be used. Never asks the user. */
export function inspectorGranted(): boolean {
  // The types do not know this kind of information about the system.
  const kind = "inspector" as "hostname";
  return Deno.permissions.querySync({ name: "sys", kind }).state === "granted";
}

/** Whether a program may be run, by its path or its name. Never asks the user. */
export function runGranted(command: string): boolean {
  return Deno.permissions.querySync({ name: "run", command }).state ===
    "granted";
}

/** Whether environment variable `variable` may be read. Never asks the user. */
function envGranted(variable: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable }).state ===
    "granted";
}

/** Reads an environment variable, if that is allowed without asking. */
export function readEnvironment(name: string): string | undefined {
  return envGranted(name) ? Deno.env.get(name) : undefined;
}

/** Writes `text` to standard error: the last resort for errors that nobody handles. */
export function writeError(text: string): void {
  // deno-lint-ignore no-console
  console.error(text);
}

/** Beginnings of the warnings that {@linkcode holdWarningBack} has met: the runtime prints each once. */
const metWarnings = new Set<string>();

/**
 * Keeps a warning of the runtime about something that the library does on purpose from
 * being printed. Other warnings are printed as ever, and once it has come nothing is done
 * any more.
 *
 * @param beginning How its text begins.
 * @param over Settles when the warning cannot come any more.
 */
export function holdWarningBack(
  beginning: string,
  over: Promise<unknown>,
): void {
  if (metWarnings.has(beginning)) return;
  const printer = console;
  const before = printer.warn;
  const filter = (...data: unknown[]): void => {
    const isIt = !metWarnings.has(beginning) &&
      String(data[0]).startsWith(beginning);
    if (isIt) metWarnings.add(beginning);
    else before.apply(printer, data);
  };
  const restore = () => {
    if (printer.warn === filter) printer.warn = before;
  };
  printer.warn = filter;
  over.then(restore, restore);
}

/** Ends the process at once with `code`. */
export function exitProcess(code: number): never {
  Deno.exit(code);
}

/** Sets the code with which the process ends when nothing keeps it alive. */
export function setExitCode(code: number): void {
  Deno.exitCode = code;
}

/** The code with which the process ends when nothing keeps it alive; 0 unless the program has set it. */
export function exitCodeSet(): number {
  return Deno.exitCode;
}

/**
 * Calls `fn` when nothing keeps the process alive any more. An end by `Deno.exit`, an error or a signal does not call it.
 *
 * @returns A function that withdraws it.
 */
export function beforeIdleEnd(fn: () => void): () => void {
  globalThis.addEventListener("beforeunload", fn);
  return () => globalThis.removeEventListener("beforeunload", fn);
}

/** Whether processes may be killed. Asks the runtime, never the user. */
export function killGranted(): boolean {
  return Deno.permissions.querySync({ name: "run" }).state === "granted";
}

/** Kills this process, whatever its threads do; needs `--allow-run`. */
export function killProcess(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

/**
 * Has `Deno.exit` not return in this thread. In threads the runtime only marks them for their end, which comes with the
 * next call or loop: a module without any would be loaded, and its functions called.
 */
export function sealExit(): void {
  const { exit } = Deno;
  const value = (code?: number): never => {
    exit(code);
    for (;;); // the end comes here
  };
  Object.defineProperty(Deno, "exit", {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });
}
