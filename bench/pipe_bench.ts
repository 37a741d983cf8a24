/**
 * A byte that goes to and fro between two readers: what it costs to be told
 * that a descriptor is readable.
 *
 * @module
 */
import { EventLoop, Pipe } from "../mod.ts";
import {
  type ForeignCase,
  register,
  type Stopwatch,
  type Suite,
} from "./support/suite.ts";

const IDLE_PIPES = 1_000;

/** Rota: two pipes, two readers, and readers on pipes where nothing happens. */
export function pingPongOnLoop(
  idlePipes: number,
): (size: number, watch: Stopwatch) => Promise<number> {
  return async (size, watch) => {
    await using loop = new EventLoop({ host: "native" });
    using stack = new DisposableStack();
    const open = (reader: () => void): Pipe => {
      const pipe = stack.use(Pipe.open());
      loop.addReader(pipe.readFd, reader);
      stack.defer(() => loop.removeReader(pipe.readFd));
      return pipe;
    };
    for (let n = 0; n < idlePipes; n++) {
      open(() => {
        throw new Error("Nobody wrote into the pipe");
      });
    }
    const byte = new Uint8Array(1);
    let trips = 0;
    const there = open(() => {
      if (there.read(byte) === 1) back.write(byte);
    });
    const back = open(() => {
      if (back.read(byte) !== 1) return;
      if (++trips < size) there.write(byte);
      else loop.stop();
    });
    there.write(byte);
    watch.start();
    await loop.runForever();
    watch.end();
    return trips;
  };
}

/**
 * Holds a loop open with what it borrows of the C library, as a program does
 * that has one loop. Libraries are closed with the last loop, and opened anew
 * their functions are new ones, which V8 takes a long way round to call when it
 * has optimized for the old: a third slower.
 */
function holdLibraryOpen(): void {
  const pipe = Pipe.open();
  new EventLoop({ host: "native" }).addReader(pipe.readFd, () => {});
}

/** The runtime's own unix sockets. */
export async function pingPongInDeno(
  size: number,
  watch: Stopwatch,
): Promise<number> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/socket`;
    using listener = Deno.listen({ transport: "unix", path });
    using client = await Deno.connect({ transport: "unix", path });
    using server = await listener.accept();
    const echo = async (): Promise<void> => {
      const byte = new Uint8Array(1);
      for (let trip = 0; trip < size; trip++) {
        await server.read(byte);
        await server.write(byte);
      }
    };
    const echoing = echo();
    const byte = new Uint8Array(1);
    let trips = 0;
    watch.start();
    while (trips < size) {
      await client.write(byte);
      if (await client.read(byte) === 1) trips++;
    }
    watch.end();
    await echoing;
    return trips;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The same in Python. */
function inPython(
  program: "python3" | "uvloop",
  loop: "asyncio" | "uvloop",
  idlePipes: number,
): ForeignCase {
  return {
    name: idlePipes === 0 ? loop : `${loop}, 1,000 idle pipes`,
    program,
    script: "pipes.py",
    args: [loop, `${idlePipes}`],
    figure: "trip",
  };
}

/** What is compared. */
export const suites: readonly Suite[] = [{
  name: "ping-pong",
  title: "ping-pong through two pipes",
  things: "round trips",
  size: 20_000,
  tinySize: 5,
  prepare: holdLibraryOpen,
  cases: [
    { name: "Rota", role: "rota", run: pingPongOnLoop(0) },
    {
      name: "Rota, 1,000 idle pipes",
      role: "rota",
      run: pingPongOnLoop(IDLE_PIPES),
    },
    { name: "Deno unix sockets", role: "rival", run: pingPongInDeno },
  ],
  foreign: [
    inPython("python3", "asyncio", 0),
    inPython("uvloop", "uvloop", 0),
    inPython("uvloop", "uvloop", IDLE_PIPES),
  ],
}];
suites.forEach(register);
