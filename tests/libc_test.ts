import { assert, assertEquals, assertThrows } from "@std/assert";
import { DescriptorsUnsupportedError, OsError } from "../src/errors.ts";
import { borrowEpollLibc } from "../src/host/libc_epoll.ts";
import {
  borrowPipeLibc,
  openPipe,
  openPipeInSteps,
} from "../src/host/libc_pipe.ts";
import { errnoCode, osError } from "../src/host/errno.ts";
import { createHost, type HostChoice } from "../src/host/select.ts";

const posix = { ignore: Deno.build.os === "windows" };
const linux = { ignore: Deno.build.os !== "linux" };

Deno.test("the C library is closed with its last borrower", posix, () => {
  // The resource sanitizer counts: a library left open fails this test.
  const one = borrowPipeLibc();
  const other = borrowPipeLibc();
  one.release();
  one.release();
  const third = borrowPipeLibc();
  assert(third.symbols === other.symbols, "it was closed too early");
  third.release();
  other.release();
  const again = borrowPipeLibc();
  assertEquals(again.symbols.close(-1), -1);
  again.release();
});

Deno.test(
  "Libc.check() passes results and turns failures into errors",
  posix,
  () => {
    const libc = borrowPipeLibc();
    try {
      assertEquals(libc.check(0, "do a thing"), 0);
      assertEquals(libc.check(7, "do a thing"), 7);
      const error = assertThrows(
        () =>
          libc.check(libc.symbols.close(999_999), "close descriptor 999999"),
        OsError,
      );
      assertEquals(
        error.message,
        "Cannot close descriptor 999999: it is not an open descriptor (EBADF)",
      );
      assertEquals([error.code, error.errno], ["EBADF", 9]);
    } finally {
      libc.release();
    }
  },
);

Deno.test("errnoCode() names the errors of this system", linux, () => {
  const names = [1, 2, 4, 9, 11, 17, 22, 24, 32].map(errnoCode);
  assertEquals(
    names.join(" "),
    "EPERM ENOENT EINTR EBADF EAGAIN EEXIST EINVAL EMFILE EPIPE",
  );
});

Deno.test("osError() copes with numbers it does not know", () => {
  const error = osError("do a thing", 4_000);
  assertEquals(
    error.message,
    "Cannot do a thing: the operating system refused (errno 4000)",
  );
  assertEquals([error.code, error.errno], ["errno 4000", 4_000]);
});

for (const open of [openPipe, openPipeInSteps]) {
  Deno.test(
    `${open.name}() makes ends that never block and are not inherited`,
    linux,
    async () => {
      const libc = borrowPipeLibc();
      try {
        const ends = open(libc);
        for (const fd of ends) {
          const info = await Deno.readTextFile(`/proc/self/fdinfo/${fd}`);
          const flags = parseInt(/^flags:\s*(\d+)$/m.exec(info)![1]!, 8);
          assertEquals(flags & 0o4000, 0o4000, "O_NONBLOCK");
          assertEquals(flags & 0o2000000, 0o2000000, "O_CLOEXEC");
          libc.symbols.close(fd);
        }
      } finally {
        libc.release();
      }
    },
  );
}

Deno.test("struct epoll_event has the layout the kernel uses", linux, () => {
  const libc = borrowEpollLibc();
  try {
    const { close, epoll_create1, epoll_ctl, epoll_wait, eventfd } =
      libc.symbols;
    const epollFd = epoll_create1(0);
    const fds = [eventfd(1, 0), eventfd(1, 0)];
    const packed = Deno.build.arch === "x86_64";
    const size = packed ? 12 : 16;
    for (const fd of fds) {
      const event = new DataView(new ArrayBuffer(size));
      event.setUint32(0, 1, true);
      event.setBigUint64(
        packed ? 4 : 8,
        0x1234_5678_0000_0000n + BigInt(fd),
        true,
      );
      assertEquals(epoll_ctl(epollFd, 1, fd, event), 0);
    }
    const found = new DataView(new ArrayBuffer(4 * size));
    assertEquals(epoll_wait(epollFd, found, 4, 0), 2);
    const data = [0, 1].map((index) =>
      found.getBigUint64(index * size + (packed ? 4 : 8), true)
    );
    assertEquals(data, fds.map((fd) => 0x1234_5678_0000_0000n + BigInt(fd)));
    for (const fd of [epollFd, ...fds]) close(fd);
  } finally {
    libc.release();
  }
});

// -- Choosing a host --

Deno.test("createHost() gives what was asked for", posix, () => {
  const names = (["portable", "poll", "virtual"] as const).map((choice) =>
    createHost(choice).name
  );
  assertEquals(names, ["portable", "poll", "virtual"]);
  const native = Deno.build.os === "linux" ? "epoll" : "poll";
  assertEquals(createHost("native").name, native);
  assertEquals(createHost("auto").name, native);
});

Deno.test("createHost() refuses what it does not know", () => {
  assertThrows(
    () => createHost("kqueue" as HostChoice),
    TypeError,
    'Cannot create a host as host must be "auto", "native", "poll", "portable" or "virtual": received "kqueue"',
  );
});

Deno.test(
  "without --allow-ffi nothing is opened and nobody is asked",
  posix,
  async () => {
    const url = (file: string) => import.meta.resolve(`../src/host/${file}`);
    const program = `
    import { createHost } from "${url("select.ts")}";
    import { Pipe } from "${url("pipe.ts")}";
    import { EpollHost } from "${url("epoll.ts")}";
    console.log(createHost("auto").name);
    const attempts = [
      () => createHost("native"),
      () => createHost("poll"),
      () => Pipe.open(),
      () => new EpollHost().watch(0, 1),
      () => new EpollHost().park(1e9, true),
    ];
    for (const attempt of attempts) {
      try {
        attempt();
        console.log("opened");
      } catch (error) {
        console.log(String(error));
      }
    }
  `;
    const script = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(script, program);
    try {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-config", "--no-check", script],
        stdin: "null",
        stderr: "inherit",
      }).output();
      const [auto, ...refusals] = new TextDecoder().decode(stdout).trim().split(
        "\n",
      );
      assertEquals(auto, "portable");
      assertEquals(refusals.length, 5);
      for (const refusal of refusals) {
        assert(
          refusal.startsWith(
            `${DescriptorsUnsupportedError.prototype.name}: Cannot `,
          ),
          refusal,
        );
        assert(
          refusal.endsWith("the permission is missing, run with --allow-ffi"),
          refusal,
        );
      }
    } finally {
      await Deno.remove(script);
    }
  },
);
