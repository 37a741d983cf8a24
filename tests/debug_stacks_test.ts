/**
 * Creation stacks in debug mode: taken for everything, made into text for what is
 * reported.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { EventLoop, type ExceptionContext, gather, sleep } from "../mod.ts";

const DEBUG = { host: "virtual", debug: true } as const;

/** Counts how many stacks are made into text while `body` runs. */
async function countTexts(body: () => unknown): Promise<number> {
  const { prepareStackTrace } = Error;
  let count = 0;
  Error.prepareStackTrace = (error) => {
    count++;
    return `${error}\n    at counted`;
  };
  try {
    await body();
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
  }
  return count;
}

Deno.test("Callbacks, timers and tasks in a gather make no stack into text", async () => {
  await using loop = new EventLoop(DEBUG);
  const texts = await countTexts(() =>
    loop.runUntilComplete(function* () {
      for (let n = 0; n < 100; n++) {
        loop.callSoon(() => {});
        loop.callLater(1, () => {});
      }
      yield* gather(
        Array.from({ length: 100 }, () => () => sleep(1)),
      );
    })
  );
  assertEquals(texts, 0);
});

Deno.test("What is reported has the stack of where it was made", async () => {
  const reports: ExceptionContext[] = [];
  await using loop = new EventLoop(DEBUG);
  loop.setExceptionHandler((_, context) => reports.push(context));
  function makeCallback() {
    loop.callSoon(() => {
      throw new Error("no");
    });
  }
  makeCallback();
  loop.stop();
  await loop.runForever();
  assertEquals(reports.length, 1);
  assertStringIncludes(reports[0]!.creationStack!, "makeCallback");
});

for (const limit of [0, 1, undefined]) {
  Deno.test(`Debug mode works when Error.stackTraceLimit is ${limit}`, async () => {
    const { stackTraceLimit } = Error;
    const reports: ExceptionContext[] = [];
    (Error as { stackTraceLimit: unknown }).stackTraceLimit = limit;
    try {
      await using loop = new EventLoop(DEBUG);
      loop.setExceptionHandler((_, context) => reports.push(context));
      loop.callSoon(() => {
        throw "no";
      });
      loop.stop();
      await loop.runForever();
      assertEquals(Error.stackTraceLimit as unknown, limit);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
    assertEquals(reports.length, 1);
    assertEquals(reports[0]!.creationStack === undefined, limit !== 1);
  });
}
