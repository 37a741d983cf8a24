import { memoryExecutor, MemoryStore } from "@rota/rota/fleet";
import type { Json } from "@rota/rota/fleet";
import { conformance } from "./support/conformance.ts";

conformance({
  name: "memory",
  test: (name, fn) => Deno.test(name, fn),
  isVirtual: true,
  hasPriorities: true,
  leaseMs: 1_000,
  // deno-lint-ignore require-await
  open: async () => {
    const store = new MemoryStore();
    let injected = "";
    return {
      executor: (options) => memoryExecutor({ ...options, store }),
      // deno-lint-ignore require-await
      loseLeases: async () => store.loseLeases(),
      // deno-lint-ignore require-await
      inject: async (payload) => {
        injected = store.inject(payload as Json);
      },
      injectedFailure: async () => {
        for (;;) {
          const found = store.find(injected);
          if (found.kind === "threw" && "message" in found) {
            return found.message;
          }
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
      // deno-lint-ignore require-await
      stop: async () => {
        store.isAway = true;
      },
      // deno-lint-ignore require-await
      start: async () => {
        store.isAway = false;
      },
      // deno-lint-ignore require-await
      [Symbol.asyncDispose]: async () => {},
    };
  },
});
