import { assert, assertEquals, assertThrows } from "@std/assert";
import { run, taskModule } from "@rota/rota";
import { memoryExecutor, MemoryStore, RemoteExecutor } from "@rota/rota/fleet";
import { LoopExecutor } from "@rota/rota/workers";
import { JobVersionError } from "../../src/errors.ts";
import type { Json } from "../../src/fleet/engine.ts";
import {
  decode,
  encode,
  type Envelope,
  NO_RETRY,
  seal,
  sealError,
  unseal,
  unsealError,
} from "../../src/fleet/envelope.ts";

const ROOT = new URL("./support/", import.meta.url).href;

const jobs = taskModule<typeof import("./support/jobs.ts")>(
  new URL("./support/jobs.ts", import.meta.url),
);

const job: Envelope = {
  name: "name",
  task: { module: `${ROOT}jobs.ts`, name: "echo" },
  args: [1, new Date(0), undefined],
  locals: { "request-id": new Set([7]) },
  deadlineAtMs: 5,
  dedupeKey: "key",
  tellsProgress: true,
  retry: {
    attempts: 3,
    initialMs: 10,
    factor: 2,
    maxMs: 100,
    isRandom: true,
  },
};

/** A value after a trip through JSON. */
function travel(value: Json): Json {
  return JSON.parse(JSON.stringify(value));
}

Deno.test("a job reads back as it was written, with a root and without", () => {
  assertEquals(unseal(travel(seal(job, null)), null), job);
  assertEquals(unseal(travel(seal(job, ROOT)), ROOT), job);
  const plain: Envelope = {
    name: "",
    task: { source: "() => 1" },
    args: [],
    locals: null,
    deadlineAtMs: Infinity,
    dedupeKey: null,
    tellsProgress: false,
    retry: NO_RETRY,
  };
  assertEquals(unseal(travel(seal(plain, null)), null), plain);
});

Deno.test("a payload of another version, or a damaged one, is refused", () => {
  const sealed = seal(job, null) as Record<string, Json>;
  const wrong: Json[] = [null, 1, "x", [], {}, { v: 2 }, { v: "1" }];
  wrong.push({ ...sealed, args: "!" }, { ...sealed, args: "AAAA" });
  wrong.push({ ...sealed, locals: "?" });
  for (const payload of wrong) {
    assertThrows(() => unseal(travel(payload), null), JobVersionError);
  }
  for (const task of [null, {}, { module: 1, name: "x" }, { source: 5 }]) {
    assertThrows(
      () => unseal(travel({ ...sealed, task } as Json), null),
      TypeError,
      "a module and a name",
    );
  }
});

Deno.test("a worker with a root runs nothing from elsewhere", () => {
  const elsewhere = { ...job, task: { module: "file:///x.ts", name: "y" } };
  const source = { ...job, task: { source: "() => 1" } };
  for (const other of [elsewhere, source]) {
    assertThrows(() => seal(other, ROOT), TypeError, "below root");
    assertThrows(
      () => unseal(seal(other, null), ROOT),
      TypeError,
      "below root",
    );
  }
  const climbing = seal(job, ROOT) as Record<string, Json>;
  const task = { module: "../memory_engine_test.ts", name: "x" };
  assertThrows(() => unseal({ ...climbing, task }, ROOT), TypeError);
});

Deno.test("whatever is thrown arrives in some form", () => {
  const { error, message } = sealError(new RangeError("no"));
  assertEquals(message, "RangeError: no");
  assert(unsealError(error, message) instanceof RangeError);
  for (const thrown of [1, "x", undefined, null, Symbol("s"), () => 1, {}]) {
    const failure = sealError(thrown);
    unsealError(failure.error, failure.message);
  }
  assertEquals((unsealError(null, "lost") as Error).message, "lost");
  assertEquals((unsealError("%", "damaged") as Error).message, "damaged");
});

Deno.test("programs with different roots run each other's jobs", async () => {
  const echoed = await run(async () => {
    const store = new MemoryStore();
    const root = ROOT;
    await using _ = memoryExecutor({
      ...{ store, root, role: "work", executor: new LoopExecutor() },
    });
    await using fleet = memoryExecutor({ store, root, role: "submit" });
    return await fleet.submit(jobs.echo, ["here"]);
  }, { host: "virtual" });
  assertEquals(echoed, "here");
});

Deno.test("options of a job of a fleet are checked before anything is sent", async () => {
  await run(async () => {
    const store = new MemoryStore();
    await using fleet = memoryExecutor({ store, role: "submit" });
    const wrong: [object, string][] = [
      [{ dedupeKey: 1 }, "dedupeKey must be a string"],
      [{ dedupeKey: "" }, "dedupeKey must not be empty"],
      [{ delayMs: -1 }, "delayMs must"],
      [{ delayMs: Infinity }, "delayMs must be finite"],
      [{ attempts: 0 }, "attempts must"],
      [{ backoff: { factor: 0 } }, "backoff.factor must"],
    ];
    for (const [options, words] of wrong) {
      const error = assertThrows(() =>
        fleet.submit(jobs.echo, [1], options as never)
      );
      assert((error as Error).message.includes(words), String(error));
    }
    assertEquals(store.size, 0);
    assertThrows(() => memoryExecutor({} as never), TypeError, "store must be");
    assert(fleet instanceof RemoteExecutor);
  }, { host: "virtual" });
});

Deno.test("each value reads back as the structured clone that it was", () => {
  const lists: unknown[] = [[], [1, "a", null, true], [[1]], [-0], [undefined]];
  const holes: unknown[] = [1];
  holes[2] = 3;
  const named = Object.assign([1], { name: "list" });
  const values = [...lists, holes, named, ...["=", "", "\ud800", "__proto__"]];
  values.push(0, -0, NaN, Infinity, 1e21, 5e-324, null, undefined, true, 1n);
  values.push(
    {},
    { toJSON: 1 },
    new Date(NaN),
    Array.from({ length: 40 }, () => 1),
  );
  for (const value of values) {
    const read = decode(JSON.parse(JSON.stringify(encode(value))));
    assertEquals(read, structuredClone(value));
    assert(Object.is(read, value) || typeof value === "object");
  }
  const read = decode(encode(holes)) as unknown[];
  assertEquals([1 in read, read.length], [false, 3]);
  assert(Object.is((decode(encode([-0])) as number[])[0], -0));
  assertThrows(() => encode(() => 1), DOMException);
  assertThrows(() => encode([Symbol("s")]), DOMException);
});

Deno.test("the error of a job is told where it was submitted, and once", async () => {
  const stack = await run(async () => {
    const store = new MemoryStore();
    await using fleet = memoryExecutor({ store, executor: new LoopExecutor() });
    const error = await fleet.submit(jobs.fail, ["no"]).then(
      () => null,
      (error) => error as Error,
    );
    return error!.stack!;
  }, { host: "virtual" });
  assertEquals(stack.split("submitted at").length, 2, stack);
  assert(stack.split("submitted at")[1]!.includes("envelope_test.ts"), stack);
});
