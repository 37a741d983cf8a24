/**
 * Links whose code is loaded with the first worker.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { lazyStarter } from "../../src/workers/lazy_link.ts";
import type {
  JobSpec,
  LinkEnd,
  LinkListener,
  LinkStarter,
  WorkerLink,
} from "../../src/workers/link.ts";

/** A listener that writes down what it is told. */
function listen(): {
  log: string[];
  listener: LinkListener;
  end: Promise<LinkEnd>;
} {
  const log: string[] = [];
  const { promise, resolve } = Promise.withResolvers<LinkEnd>();
  const listener: LinkListener = {
    ready: () => log.push("ready"),
    returned: () => log.push("returned"),
    threw: () => log.push("threw"),
    progressed: () => log.push("progressed"),
    nested: () => null,
    answered: () => log.push("answered"),
    ended: (end) => {
      log.push(`ended: ${end.kind}`);
      resolve(end);
    },
  };
  return { log, listener, end: promise };
}

/** A starter of links that write down what is called. */
function fakeStarter(calls: string[]): LinkStarter {
  return (listener): WorkerLink => {
    calls.push("start");
    queueMicrotask(() => listener.ready());
    return {
      send: ({ id }) => calls.push(`send ${id}`),
      abort: (id) => calls.push(`abort ${id}`),
      ping: () => calls.push("ping"),
      close: () => calls.push("close"),
      kill: () => calls.push("kill"),
      cpuMs: () => 7,
      livesOn: () => true,
    };
  };
}

const job: JobSpec = {
  id: 3,
  name: "job",
  task: { source: "() => {}" },
  args: [],
  transfer: [],
  remainingMs: Infinity,
  locals: null,
};

async function settle(): Promise<void> {
  for (let n = 0; n < 20; n++) await null;
}

Deno.test("the code is loaded once, with the first worker", async () => {
  const calls: string[] = [];
  let loads = 0;
  const start = lazyStarter(() => {
    loads++;
    return Promise.resolve(fakeStarter(calls));
  });
  assertEquals(loads, 0);
  const [one, other, later] = [listen(), listen(), listen()];
  const link = start(one.listener);
  start(other.listener);
  assertEquals(calls, []);
  assert(Number.isNaN(link.cpuMs()));
  assertEquals(link.livesOn(), false);
  await settle();
  assertEquals([one.log, other.log], [["ready"], ["ready"]]);
  assertEquals(loads, 1);
  start(later.listener);
  assertEquals(calls, ["start", "start", "start"], "at once, as it is loaded");
  link.send(job);
  link.abort(3, "why");
  link.ping();
  link.close();
  link.kill();
  assertEquals(
    calls.slice(3),
    ["send 3", "abort 3", "ping", "close", "kill"],
  );
  assertEquals([link.cpuMs(), link.livesOn()], [7, true]);
});

Deno.test("a failure to load ends the link, and the next worker tries again", async () => {
  const calls: string[] = [];
  let loads = 0;
  const start = lazyStarter(() => {
    if (loads++ === 0) return Promise.reject(new RangeError("no network"));
    return Promise.resolve(fakeStarter(calls));
  });
  const one = listen();
  start(one.listener);
  const { kind, cause } = await one.end;
  assertEquals(kind, "start");
  assert(cause instanceof RangeError);
  const other = listen();
  start(other.listener);
  await settle();
  assertEquals(other.log, ["ready"]);
});

for (const how of ["close", "kill"] as const) {
  Deno.test(`${how}() does not wait for code that never comes, or too late`, async () => {
    const calls: string[] = [];
    const code = Promise.withResolvers<LinkStarter>();
    const { log, listener, end } = listen();
    const link = lazyStarter(() => code.promise)(listener);
    link[how]();
    link.kill();
    assertEquals(log, []);
    await end;
    code.resolve(fakeStarter(calls));
    await settle();
    assertEquals(log, [how === "close" ? "ended: closed" : "ended: killed"]);
    assertEquals(calls, []);
    assertEquals(link.livesOn(), false);
  });

  Deno.test(`${how}() while the code is loaded starts no worker`, async () => {
    const calls: string[] = [];
    const start = lazyStarter(() => Promise.resolve(fakeStarter(calls)));
    const { log, listener, end } = listen();
    const link = start(listener);
    link[how]();
    assertEquals(log, []);
    await end;
    assertEquals(log, [how === "close" ? "ended: closed" : "ended: killed"]);
    assertEquals(calls, []);
  });
}
