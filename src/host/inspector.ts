/**
 * The inspector of the engine, connected to from inside: where suspended generators stand.
 *
 * `node:inspector` is loaded on first use. Connecting needs the permission `sys`. While nothing is asked there is no
 * connection, and code runs as fast as ever.
 *
 * @module
 */
import type * as NodeInspector from "node:inspector";
import { readGranted } from "./process.ts";

/** Where a generator stands, in the JavaScript that the engine runs. */
export interface CompiledPlace {
  /** Name of the function; `""` if it has none. */
  readonly function: string;
  /** URL of the script. */
  readonly url: string;
  /** Line, from 0. */
  readonly line: number;
  /** Column, from 0. */
  readonly column: number;
}

/** Places of generators, and the text of the scripts in which they are. */
export interface CompiledPlaces {
  /** The places, in the order of the generators; null for one that has ended, or runs. */
  readonly places: readonly (CompiledPlace | null)[];
  /** Text by URL, as the engine has it. */
  readonly texts: ReadonlyMap<string, string>;
}

/** Parts of the protocol's messages that are read here. */
interface RemoteObject {
  readonly objectId?: string;
  readonly description?: string;
  readonly value?: unknown;
}
interface Property {
  readonly name: string;
  readonly value?: RemoteObject;
}
interface Properties {
  readonly result: readonly Property[];
  readonly internalProperties?: readonly Property[];
}
interface ScriptParsed {
  readonly params: { readonly scriptId: string; readonly url: string };
}
interface Location {
  readonly scriptId: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

/** A connection to the inspector. */
class Connection {
  readonly #session: NodeInspector.Session;
  /** URL by script. */
  readonly scripts: Map<string, string> = new Map();

  constructor(inspector: typeof NodeInspector) {
    this.#session = new inspector.Session();
    this.#session.connect();
    const parsed = ({ params }: ScriptParsed) =>
      this.scripts.set(params.scriptId, params.url);
    // The type of the events says that they are of no kind.
    (this.#session as { on(name: string, listener: unknown): void })
      .on("Debugger.scriptParsed", parsed);
  }

  post<T>(method: string, params: object = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const answered = (error: Error | null, answer?: object) => {
        if (error === null) resolve(answer as T);
        else {reject(
            new Error(`The inspector refused ${method}`, { cause: error }),
          );}
      };
      this.#session.post(method, params, answered);
    });
  }

  close(): void {
    this.#session.disconnect();
  }
}

/** How many generators are asked for at a time, so that the thread gets to other work in between. */
const AT_A_TIME = 32;

let asked = 0;

/**
 * Asks where generators stand. Takes some 80 ms for the scripts of the thread and 0.2 ms for each generator, in parts
 * of a few milliseconds but for the first. Generators that go on meanwhile are found where they are by then.
 */
export async function locateGenerators(
  generators: readonly object[],
): Promise<CompiledPlaces> {
  const connection = new Connection(await import("node:inspector"));
  try {
    const enabled = connection.post("Debugger.enable");
    // A `debugger` statement would hold the thread, with nobody there to resume it.
    await connection.post("Debugger.setSkipAllPauses", { skip: true });
    await enabled;
    const ids = await hand(connection, generators);
    const places: (CompiledPlace | null)[] = [];
    const scripts = new Set<string>();
    for (let at = 0; at < ids.length; at += AT_A_TIME) {
      const some = ids.slice(at, at + AT_A_TIME);
      const found = await Promise.all(
        some.map((id) => locate(connection, id, scripts)),
      );
      places.push(...found);
    }
    return { places, texts: await textsOf(connection, scripts) };
  } finally {
    connection.close();
  }
}

/** Hands objects to the inspector, and returns the names it has for them. */
async function hand(
  connection: Connection,
  generators: readonly object[],
): Promise<string[]> {
  const name = `rota.generators.${++asked}`;
  const key = Symbol.for(name);
  const place = globalThis as unknown as Record<symbol, unknown>;
  place[key] = generators;
  try {
    const { result } = await connection.post<{ result: RemoteObject }>(
      "Runtime.evaluate",
      { expression: `globalThis[Symbol.for(${JSON.stringify(name)})]` },
    );
    const list = await connection.post<Properties>("Runtime.getProperties", {
      objectId: result.objectId,
      ownProperties: true,
    });
    return list.result.filter((property) => /^\d+$/.test(property.name))
      .map(({ value }) => value!.objectId!);
  } finally {
    delete place[key];
  }
}

async function locate(
  connection: Connection,
  objectId: string,
  scripts: Set<string>,
): Promise<CompiledPlace | null> {
  const { internalProperties = [] } = await connection.post<Properties>(
    "Runtime.getProperties",
    { objectId, ownProperties: true },
  );
  const read = (name: string) =>
    internalProperties.find((property) => property.name === name)?.value;
  const location = read("[[GeneratorLocation]]")?.value as Location | undefined;
  if (
    location === undefined || read("[[GeneratorState]]")?.value !== "suspended"
  ) {
    return null;
  }
  const url = connection.scripts.get(location.scriptId) ?? "";
  scripts.add(location.scriptId);
  const text = read("[[GeneratorFunction]]")?.description ?? "";
  return {
    function: /^(?:static\s+)?(?:function\s*)?\*\s*([\w$#]+)/.exec(text)?.[1] ??
      "",
    url,
    line: location.lineNumber,
    column: location.columnNumber,
  };
}

async function textsOf(
  connection: Connection,
  scripts: ReadonlySet<string>,
): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const scriptId of scripts) {
    const { scriptSource } = await connection.post<{ scriptSource: string }>(
      "Debugger.getScriptSource",
      { scriptId },
    );
    texts.set(connection.scripts.get(scriptId) ?? "", scriptSource);
  }
  return texts;
}

/** Reads the text of a file that the program may read without asking; null for any other. */
export async function readSource(url: string): Promise<string | null> {
  if (!url.startsWith("file:") || !readGranted(url)) return null;
  try {
    return await Deno.readTextFile(new URL(url));
  } catch {
    return null; // gone, or no file of the program's
  }
}
