/**
 * Clients for `bench/support/serve.ts`: `http_load.ts PORT CONNECTIONS REQUESTS PAUSE_MS`. Each
 * connection sends one request after the other, with a pause in between. Prints how long those took that were
 * accepted, in microseconds, and how many were refused.
 *
 * @module
 */
const [port, connections, requests, pauseMs] = Deno.args.map(Number);
const REQUEST = new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
const decoder = new TextDecoder();
const acceptedUs: number[] = [];
let refused = 0;
let left = requests!;

async function work(): Promise<void> {
  using connection = await Deno.connect({
    port: port!,
    hostname: "127.0.0.1",
  });
  connection.setNoDelay(true);
  const buffer = new Uint8Array(4_096);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * pauseMs!));
  while (left-- > 0) {
    const begin = performance.now();
    await connection.write(REQUEST);
    const read = await connection.read(buffer);
    const tookUs = (performance.now() - begin) * 1_000;
    const status = decoder.decode(buffer.subarray(9, 12));
    if (read === null) throw new Error("The connection was closed");
    if (status === "200") acceptedUs.push(Math.round(tookUs));
    else if (status === "503") refused++;
    else throw new Error(`Status ${status}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

await Promise.all(Array.from({ length: connections! }, work));
console.log(JSON.stringify({ acceptedUs, refused }));
