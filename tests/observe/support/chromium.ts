/**
 * Chromium without a window, driven by the DevTools protocol.
 *
 * @module
 */

/** Where Debian has it. */
const PATH = "/usr/bin/chromium";

/** Whether there is a Chromium here. */
export function hasChromium(): boolean {
  try {
    return Deno.statSync(PATH).isFile;
  } catch {
    return false;
  }
}

type Params = Record<string, unknown>;

/** A message of the protocol. */
interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

/** A browser with one page. */
export class Chromium implements AsyncDisposable {
  /** Errors and warnings that the page or the browser wrote to the console. */
  readonly complaints: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #calls: Map<number, PromiseWithResolvers<Params>> = new Map();
  #session: string | undefined = undefined;
  #last = 0;

  private constructor(
    child: Deno.ChildProcess,
    folder: string,
    socket: WebSocket,
  ) {
    this.#child = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data) as Message);
    socket.onclose = () => {
      for (const call of this.#calls.values()) {
        call.reject(new Error("Chromium has gone"));
      }
    };
  }

  /** Starts it, and opens an empty page. */
  static async start(): Promise<Chromium> {
    const folder = await Deno.makeTempDir({ prefix: "rota-chromium-" });
    const child = new Deno.Command(PATH, {
      args: [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
        `--user-data-dir=${folder}`,
        "about:blank",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const socket = new WebSocket(await findEndpoint(child.stderr));
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const browser = new Chromium(child, folder, socket);
    await browser.#openPage();
    return browser;
  }

  async #openPage(): Promise<void> {
    const { targetId } = await this.call("Target.createTarget", {
      url: "about:blank",
    });
    const { sessionId } = await this.call("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    this.#session = sessionId as string;
    for (const domain of ["Runtime", "Log", "Page"]) {
      await this.call(`${domain}.enable`);
    }
  }

  #take({ id, method, params, result, error }: Message): void {
    if (id !== undefined) {
      const call = this.#calls.get(id)!;
      this.#calls.delete(id);
      if (error === undefined) call.resolve(result!);
      else call.reject(new Error(error.message));
    } else if (
      method === "Runtime.exceptionThrown" ||
      method === "Runtime.consoleAPICalled" ||
      method === "Log.entryAdded"
    ) this.complaints.push(`${method} ${JSON.stringify(params)}`);
  }

  /** Calls a method of the protocol. */
  call(method: string, params: Params = {}): Promise<Params> {
    const id = ++this.#last;
    const answer = Promise.withResolvers<Params>();
    this.#calls.set(id, answer);
    const sessionId = this.#session;
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return answer.promise;
  }

  /** Opens a page. */
  async open(url: string): Promise<void> {
    await this.call("Page.navigate", { url });
  }

  /** Evaluates an expression in the page; a promise is awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) {
      throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    }
    return (result as { value: T }).value;
  }

  /** Waits until an expression is true in the page, which is asked at each of its frames. */
  async until(expression: string, limitMs = 10_000): Promise<void> {
    const holds = await this.evaluate<boolean>(`new Promise((resolve) => {
      const end = performance.now() + ${limitMs};
      const look = () => {
        let holds = false;
        try { holds = Boolean(${expression}); } catch {}
        if (holds || performance.now() > end) resolve(holds);
        else setTimeout(look, 20);
      };
      look();
    })`);
    if (holds) return;
    const text = await this.evaluate<string>("document.body.innerText");
    throw new Error(`Not within ${limitMs} ms: ${expression}\n${text}`);
  }

  /** Presses a key, such as "Tab" or "Enter". */
  async press(key: string): Promise<void> {
    const codes: Record<string, number> = { Tab: 9, Enter: 13 };
    const text = key === "Enter" ? "\r" : key.length === 1 ? key : undefined;
    for (
      const type of [text === undefined ? "rawKeyDown" : "keyDown", "keyUp"]
    ) {
      await this.call("Input.dispatchKeyEvent", {
        type,
        key,
        code: key,
        windowsVirtualKeyCode: codes[key] ?? 0,
        ...(type === "keyDown" && { text }),
      });
    }
  }

  /** Types a text. */
  async type(text: string): Promise<void> {
    await this.call("Input.insertText", { text });
  }

  /** Sets the size of the page. */
  async resize(width: number, height: number, dark = false): Promise<void> {
    await this.call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
    await this.call("Emulation.setEmulatedMedia", {
      features: [{
        name: "prefers-color-scheme",
        value: dark ? "dark" : "light",
      }],
    });
  }

  /** Takes a picture of the page, and writes it to a file. */
  async picture(path: string | URL): Promise<void> {
    const { data } = await this.call("Page.captureScreenshot", {
      format: "png",
    });
    await Deno.writeFile(path, Uint8Array.fromBase64(data as string));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session = undefined;
    const closed = new Promise((resolve) => {
      this.#socket.addEventListener("close", resolve);
    });
    await this.call("Browser.close").catch(() => {});
    await this.#child.status;
    this.#socket.close();
    await closed;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Reads where the browser can be called, and goes on to read what it writes. */
async function findEndpoint(
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  const found = Promise.withResolvers<string>();
  let text = "";
  (async () => {
    for await (const part of stderr.pipeThrough(new TextDecoderStream())) {
      text += part;
      const url = /DevTools listening on (ws:\S+)/.exec(text)?.[1];
      if (url !== undefined) found.resolve(url);
    }
    found.reject(new Error(`Chromium has ended:\n${text}`));
  })();
  found.promise.catch(() => {});
  return await found.promise;
}
