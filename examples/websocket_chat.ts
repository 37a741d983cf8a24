/**
 * A chat over web sockets, on loopback, with three clients that talk and leave.
 *
 * On the server each connection is a source of messages, gone through by a task of its own; a
 * member who reads too slowly loses old messages and not the others' time. The clients keep
 * themselves connected: the server drops one of them under way. Needs --allow-net.
 */

import {
  each,
  fromWebSocket,
  getRunningLoop,
  reconnecting,
  run,
  sleep,
  taskGroup,
  type WebSocketSource,
} from "@rota/rota";
import { assertEquals } from "@std/assert";

/** The members who are in the room, and all that was said. */
class Room {
  readonly #members = new Set<WebSocketSource>();
  readonly log: string[] = [];

  /** Lets a member talk until the connection ends. */
  async join(member: WebSocketSource): Promise<void> {
    this.#members.add(member);
    try {
      for await (const message of member) {
        const text = String(message);
        if (text === "/drop") member.close(4000, "dropped");
        else await this.#say(text);
      }
    } finally {
      this.#members.delete(member);
    }
  }

  async #say(text: string): Promise<void> {
    this.log.push(text);
    console.log(text);
    // A member who goes away meanwhile is no concern of the others.
    await Promise.allSettled(
      [...this.#members].map(async (member) => await member.send(text)),
    );
  }
}

/** Says some words, each when the one before has come back. */
function* chat(url: string, name: string, words: readonly string[]) {
  using line = reconnecting(url, { backoff: { initialMs: 5 }, seed: 1 });
  let said = 0;
  const say = function* () {
    const word = words[said];
    if (word === undefined) return;
    if (word === "/drop") {
      yield* line.send(word);
      while (line.state === "open") yield* sleep(1);
      said++; // what follows is sent on the next connection
    }
    yield* line.send(`${name}: ${words[said]}`);
  };
  yield* say();
  yield* each(line, function* (message, stop) {
    if (message !== `${name}: ${words[said]}`) return;
    said++;
    yield* say();
    if (said === words.length) stop();
  });
}

await run(async () => {
  const room = new Room();
  const loop = getRunningLoop();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      const member = fromWebSocket(socket, {
        buffer: 100,
        overflow: "drop-oldest",
        maxMessageBytes: 1_000,
      });
      loop.createTask(() => room.join(member));
      return response;
    },
  );
  const url = `ws://127.0.0.1:${server.addr.port}`;
  await taskGroup((group) => {
    group.createTask(() => chat(url, "Ada", ["hello", "how are you?", "bye"]));
    group.createTask(() => chat(url, "Bob", ["hi", "/drop", "back again"]));
    group.createTask(() => chat(url, "Cy", ["good morning"]));
  });
  await server.shutdown();
  assertEquals(room.log.filter((line) => line.startsWith("Ada")), [
    "Ada: hello",
    "Ada: how are you?",
    "Ada: bye",
  ]);
  assertEquals(room.log.filter((line) => line.startsWith("Bob")), [
    "Bob: hi",
    "Bob: back again",
  ]);
});
