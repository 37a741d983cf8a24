"""The workload of pipe_bench.ts for Python: pipes.py TRIPS ROUNDS asyncio|uvloop IDLE_PIPES.

Prints ns per round trip.
"""

import asyncio
import json
import os
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])
kind, idle_pipes = sys.argv[3], int(sys.argv[4])


async def ping_pong():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    there_read, there_write = os.pipe()
    back_read, back_write = os.pipe()
    trips = 0

    def there():
        os.write(back_write, os.read(there_read, 1))

    def back():
        nonlocal trips
        byte = os.read(back_read, 1)
        trips += 1
        if trips < size:
            os.write(there_write, byte)
        else:
            over.set_result(None)

    loop.add_reader(there_read, there)
    loop.add_reader(back_read, back)
    os.write(there_write, b"x")
    start = time.perf_counter_ns()
    await over
    took = time.perf_counter_ns() - start
    for fd in (there_read, back_read):
        loop.remove_reader(fd)
    for fd in (there_read, there_write, back_read, back_write):
        os.close(fd)
    return took / size


def nobody_wrote():
    raise AssertionError("Nobody wrote into the pipe")


async def main():
    loop = asyncio.get_running_loop()
    for _ in range(idle_pipes):
        loop.add_reader(os.pipe()[0], nobody_wrote)
    print(json.dumps({"trip": [await ping_pong() for _ in range(rounds)]}))


if kind == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main())
