import { assertEquals, assertRejects } from "@std/assert";
import { LoopExecutor, LoopHandle, run } from "@rota/rota";
import { inStyle, STYLES } from "../support/styles.ts";

interface Functions {
  [name: string]: (...args: never[]) => unknown;
  add(n: number): number;
}

const callThrough = (handle: LoopHandle<Functions>, n: number) =>
  handle.call("add", n);

for (const style of STYLES) {
  Deno.test(`a job of a LoopExecutor calls through a loop handle, in ${style}`, async () => {
    await run(inStyle(style, function* () {
      const executor = new LoopExecutor();
      const handle = new LoopHandle<Functions>();
      handle.register("add", (n: number) => n + 1);
      assertEquals(yield executor.submit(callThrough, [handle, 1]), 2);
      assertEquals(yield handle.call("add", 2), 3);
      yield executor.shutdown();
      handle.close();
    }));
  });
}

Deno.test("a handle beside something that cannot be cloned is dropped", async () => {
  await run(async () => {
    await using executor = new LoopExecutor();
    using handle = new LoopHandle<Functions>();
    const job = executor.submit(
      (_handle: LoopHandle<Functions>, fn: () => number) => fn(),
      [handle, () => 1],
    );
    await assertRejects(() => job as unknown as Promise<unknown>, DOMException);
  });
});
