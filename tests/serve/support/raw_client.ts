/**
 * A client that speaks HTTP by hand: sends half a request, goes away, never answers.
 *
 * @module
 */

/** A connection to a server on the loopback. */
export class RawClient {
  readonly #connection: Deno.TcpConn;
  #received = "";

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async connect(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Sends text as it is. */
  async send(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) {
      at += await this.#connection.write(bytes.subarray(at));
    }
  }

  /** Reads until `text` has come; returns all from there back to the last call. */
  async until(text: string): Promise<string> {
    while (!this.#received.includes(text)) {
      if (!await this.#read()) throw new Error(`closed before ${text}`);
    }
    return this.#take();
  }

  /** Reads until the server closes the connection, by whatever means. */
  async untilEnd(): Promise<string> {
    while (await this.#read());
    return this.#take();
  }

  /** Goes away. */
  close(): void {
    this.#connection.close();
  }

  async #read(): Promise<boolean> {
    const buffer = new Uint8Array(65_536);
    try {
      const length = await this.#connection.read(buffer);
      if (length === null) return false;
      this.#received += new TextDecoder().decode(buffer.subarray(0, length));
      return true;
    } catch {
      return false; // reset
    }
  }

  #take(): string {
    const received = this.#received;
    this.#received = "";
    return received;
  }
}
