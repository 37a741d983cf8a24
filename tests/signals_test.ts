import { assert, assertEquals, assertThrows } from "@std/assert";
import { KeepAlive } from "../src/host/timers.ts";
import { onSignal } from "../src/host/signals.ts";

const posix = { ignore: Deno.build.os === "windows" };

/** For listeners that do not throw. */
function unexpected(error: unknown): void {
  throw error;
}

/** Sends `signal` to this process and waits until it was delivered. */
async function deliver(signal: Deno.Signal): Promise<void> {
  const hold = new KeepAlive();
  hold.set(true); // a listener does not keep the test alive
  const { promise, resolve } = Promise.withResolvers<void>();
  // Added last, hence called last.
  const remove = onSignal(signal, resolve, unexpected);
  Deno.kill(Deno.pid, signal);
  await promise;
  remove();
  hold.set(false);
}

Deno.test(
  "onSignal() calls the listeners in the order they were added",
  posix,
  async () => {
    const log: number[] = [];
    const removes = [1, 2, 3].map((id) =>
      onSignal("SIGUSR2", () => log.push(id), unexpected)
    );
    await deliver("SIGUSR2");
    await deliver("SIGUSR2");
    assertEquals(log, [1, 2, 3, 1, 2, 3]);
    for (const remove of removes) remove();
  },
);

Deno.test(
  "onSignal() calls a listener as often as it was added",
  posix,
  async () => {
    let calls = 0;
    const listener = () => {
      calls++;
    };
    const removeOne = onSignal("SIGUSR2", listener, unexpected);
    const removeOther = onSignal("SIGUSR2", listener, unexpected);
    await deliver("SIGUSR2");
    assertEquals(calls, 2);
    removeOne();
    removeOne();
    await deliver("SIGUSR2");
    assertEquals(calls, 3);
    removeOther();
  },
);

Deno.test("onSignal() keeps signals apart", posix, async () => {
  const log: string[] = [];
  using stack = new DisposableStack();
  stack.defer(onSignal("SIGUSR2", () => log.push("USR2"), unexpected));
  stack.defer(onSignal("SIGWINCH", () => log.push("WINCH"), unexpected));
  await deliver("SIGWINCH");
  assertEquals(log, ["WINCH"]);
});

Deno.test(
  "onSignal() leaves out a listener added during the delivery",
  posix,
  async () => {
    const log: string[] = [];
    using stack = new DisposableStack();
    let added = false;
    stack.defer(onSignal("SIGUSR2", () => {
      log.push("first");
      if (added) return;
      added = true;
      stack.defer(onSignal("SIGUSR2", () => log.push("added"), unexpected));
    }, unexpected));
    await deliver("SIGUSR2");
    assertEquals(log, ["first"]);
    await deliver("SIGUSR2");
    assertEquals(log, ["first", "first", "added"]);
  },
);

Deno.test(
  "onSignal() leaves out a listener added in place of the last one",
  posix,
  async () => {
    const hold = new KeepAlive();
    hold.set(true);
    const log: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    let removeSecond = () => {};
    const remove = onSignal("SIGUSR2", () => {
      log.push("first");
      remove();
      removeSecond = onSignal("SIGUSR2", () => log.push("second"), unexpected);
      setTimeout(resolve, 0);
    }, unexpected);
    Deno.kill(Deno.pid, "SIGUSR2");
    await promise;
    assertEquals(log, ["first"]);
    await deliver("SIGUSR2");
    assertEquals(log, ["first", "second"]);
    removeSecond();
    hold.set(false);
  },
);

Deno.test(
  "onSignal() leaves out a listener removed during the delivery",
  posix,
  async () => {
    const log: string[] = [];
    const removeFirst = onSignal("SIGUSR2", () => {
      log.push("first");
      removeSecond();
    }, unexpected);
    const removeSecond = onSignal(
      "SIGUSR2",
      () => log.push("second"),
      unexpected,
    );
    await deliver("SIGUSR2");
    assertEquals(log, ["first"]);
    removeFirst();
  },
);

Deno.test(
  "onSignal() tells each listener's owner what it threw, and goes on",
  posix,
  async () => {
    const log: unknown[] = [];
    using stack = new DisposableStack();
    for (const id of [1, 2]) {
      stack.defer(onSignal("SIGUSR2", () => {
        throw id;
      }, (error) => log.push([id, error])));
    }
    stack.defer(onSignal("SIGUSR2", () => log.push("last"), unexpected));
    await deliver("SIGUSR2");
    assertEquals(log, [[1, 1], [2, 2], "last"]);
  },
);

Deno.test("onSignal() refuses what nobody can handle", () => {
  for (
    const signal of [
      "SIGKILL",
      "SIGSTOP",
      "SIGILL",
      "SIGFPE",
      "SIGSEGV",
    ] as const
  ) {
    const error = assertThrows(
      () => onSignal(signal, () => {}, unexpected),
      TypeError,
    );
    assertEquals(
      error.message,
      `Cannot handle signal "${signal}": the operating system does not let programs handle it`,
    );
  }
});

Deno.test("onSignal() refuses what is no signal", () => {
  for (const [signal, shown] of [["SIGFOO", '"SIGFOO"'], [15, "number"]]) {
    const error = assertThrows(
      () => onSignal(signal as Deno.Signal, () => {}, unexpected),
      TypeError,
    );
    assertEquals(
      error.message,
      `Cannot handle a signal as signal must be a signal name such as "SIGTERM": received ${shown}`,
    );
  }
});

Deno.test(
  "onSignal() restores the default action with the last removal",
  posix,
  async () => {
    const { code, signal, stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        "--ext=ts",
        `
        import { onSignal } from "${
          import.meta.resolve("../src/host/signals.ts")
        }";
        import { KeepAlive } from "${
          import.meta.resolve("../src/host/timers.ts")
        }";
        new KeepAlive().set(true);
        const remove = onSignal("SIGTERM", () => {
          console.log("handled");
          remove();
          Deno.kill(Deno.pid, "SIGTERM");
        }, () => {});
        Deno.kill(Deno.pid, "SIGTERM");
      `,
      ],
      stdin: "null",
      stderr: "inherit",
    }).output();
    assertEquals(new TextDecoder().decode(stdout), "handled\n");
    assert(signal === "SIGTERM" || code === 143);
  },
);
