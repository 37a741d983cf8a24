/**
 * SIGTERM to a real process with Express: requests, an event stream, half a request and
 * a function in the background are under way.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Program, startProgram } from "../support/program.ts";
import { RawClient } from "./support/raw_client.ts";

function startExpress(scene: string): Program {
  const url = import.meta.resolve("./children/express.ts");
  return startProgram(`await import(${JSON.stringify(url)});`, {
    flags: ["-A", "--quiet"], // it may have to download Express
    env: { SCENE: scene },
  });
}

async function lineOf(program: Program, begin: string): Promise<string> {
  for (;;) {
    const line = await program.line();
    assert(line !== null, `the child ended before "${begin}"`);
    if (line.startsWith(begin)) return line;
  }
}

const ask = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;

Deno.test("SIGTERM lets Express answer what it has accepted, and ends with 0", async () => {
  const child = startExpress("polite");
  const port = Number((await lineOf(child, "port")).slice(5));
  const [slow, events, half, idle, mail] = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(port)),
  ) as [RawClient, RawClient, RawClient, RawClient, RawClient];
  await slow.send(ask("/slow"));
  await lineOf(child, "slow");
  await events.send(ask("/events"));
  await events.until("data: 1");
  await half.send("GET /quick HTTP/1.1\r\nho");
  await idle.send(ask("/ready"));
  assertMatch(await idle.until("ok"), /200 OK/);
  await mail.send(ask("/mail"));
  await mail.until("will do");

  child.send("SIGTERM");
  // Not ready any more, and takes requests nevertheless.
  for (;;) {
    const probe = await RawClient.connect(port);
    await probe.send(ask("/ready"));
    const answer = await probe.until("\r\n\r\n");
    probe.close();
    if (answer.includes("503")) break;
  }
  const late = await RawClient.connect(port);
  await late.send(ask("/quick"));
  const quick = await late.untilEnd();
  assertMatch(quick, /200 OK[^]*quick$/);
  assertMatch(quick, /connection: close/i);
  late.close();

  const slowAnswer = await slow.untilEnd();
  assertMatch(slowAnswer, /200 OK[^]*slow but sure$/);
  assertMatch(slowAnswer, /connection: close/i);
  assertMatch(await events.untilEnd(), /data: bye[^]*0\r\n\r\n$/);
  assertEquals(await idle.untilEnd(), "");
  await half.untilEnd();
  await mail.untilEnd();
  for (const client of [slow, events, half, idle, mail]) client.close();

  const { code, stdout, stderr } = await child.end();
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertMatch(stdout, /mail is sent/);
  assertMatch(stdout, /server is closed/);
});

Deno.test("an event stream that goes on is cut in time, and that is no failure", async () => {
  const child = startExpress("stubborn");
  const port = Number((await lineOf(child, "port")).slice(5));
  const events = await RawClient.connect(port);
  await events.send(ask("/events"));
  await events.until("data: 1");
  child.send("SIGTERM");
  assert(!(await events.untilEnd()).endsWith("0\r\n\r\n"));
  events.close();
  const { code, stdout, stderr } = await child.end();
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertMatch(stdout, /events cancelled/);
});
