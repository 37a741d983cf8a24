/**
 * Sends one request after the other on one connection and prints how long each
 * took, in microseconds: http_client.ts PORT REQUESTS.
 *
 * @module
 */
const [port, requests] = [Number(Deno.args[0]), Number(Deno.args[1])];
const request = new TextEncoder().encode(
  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
);
const decoder = new TextDecoder();
const buffer = new Uint8Array(4_096);
using connection = await Deno.connect({ hostname: "127.0.0.1", port });
connection.setNoDelay(true);
const tookUs: number[] = [];
for (let n = 0; n < requests; n++) {
  const startMs = performance.now();
  await connection.write(request);
  let answer = "";
  while (!answer.endsWith("\r\n\r\nok")) {
    const bytes = await connection.read(buffer);
    if (bytes === null) throw new Error("The server has hung up");
    answer += decoder.decode(buffer.subarray(0, bytes));
  }
  tookUs.push((performance.now() - startMs) * 1e3);
}
console.log(JSON.stringify(tookUs));
