/**
 * A JSR registry on the loopback that has one package, this one, as it would be published.
 *
 * @module
 */
import { ROOT } from "./run_deno.ts";

const PACKAGE = "/@rota/rota";

/** Server of the registry; stopped when it is disposed of. */
export interface MockRegistry extends AsyncDisposable {
  /** Value for the environment variable `JSR_URL`. */
  readonly url: string;
  /** Version of the package. */
  readonly version: string;
}

/** Reads all files below `folder` that are published, by their path in the package. */
async function readPublished(
  folder: URL,
  prefix: string,
  into: Map<string, Uint8Array>,
): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${prefix}/${name}`;
    if (isDirectory) {
      await readPublished(new URL(`${name}/`, folder), path, into);
    } else into.set(path, await Deno.readFile(new URL(name, folder)));
  }
}

async function manifestOf(
  files: ReadonlyMap<string, Uint8Array>,
): Promise<Record<string, { size: number; checksum: string }>> {
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const [path, content] of files) {
    const digest = await crypto.subtle.digest(
      "SHA-256",
      new Uint8Array(content),
    );
    manifest[path] = {
      size: content.length,
      checksum: `sha256-${new Uint8Array(digest).toHex()}`,
    };
  }
  return manifest;
}

/** Starts a registry that serves the package from the working tree. */
export async function startMockRegistry(): Promise<MockRegistry> {
  const config = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", ROOT)),
  );
  const version: string = config.version;
  const files = new Map<string, Uint8Array>();
  for (const name of ["mod.ts", "deno.json"]) {
    files.set(`/${name}`, await Deno.readFile(new URL(name, ROOT)));
  }
  await readPublished(new URL("src/", ROOT), "/src", files);
  const answers = new Map<string, Uint8Array | string>([
    [
      `${PACKAGE}/meta.json`,
      JSON.stringify({
        scope: "rota",
        name: "rota",
        latest: version,
        versions: { [version]: {} },
      }),
    ],
    [
      `${PACKAGE}/${version}_meta.json`,
      JSON.stringify({
        manifest: await manifestOf(files),
        exports: config.exports,
      }),
    ],
  ]);
  for (const [path, content] of files) {
    answers.set(`${PACKAGE}/${version}${path}`, content);
  }
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { pathname } = new URL(request.url);
      const answer = answers.get(pathname);
      if (answer === undefined) return new Response(null, { status: 404 });
      const type = pathname.endsWith(".ts")
        ? "text/typescript"
        : "application/json";
      return new Response(
        typeof answer === "string" ? answer : new Uint8Array(answer),
        { headers: { "content-type": type } },
      );
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    version,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
