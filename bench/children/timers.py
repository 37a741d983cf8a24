"""The workloads of timers_bench.ts for asyncio: timers.py SIZE ROUNDS [due].

Prints nanoseconds per timer, one number a round.
"""

import asyncio
import json
import sys
import time

size, rounds = int(sys.argv[1]), int(sys.argv[2])
only_due = sys.argv[3:] == ["due"]


def nothing():
    pass


def delays():
    state = 12_345
    for _ in range(size):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        yield (10_000 + state % 90_001) / 1_000


async def create_and_cancel():
    loop = asyncio.get_running_loop()
    seconds = list(delays())
    start = time.perf_counter_ns()
    timers = [loop.call_later(delay, nothing) for delay in seconds]
    created = time.perf_counter_ns()
    for timer in timers:
        timer.cancel()
    await asyncio.sleep(0)
    return created - start, time.perf_counter_ns() - created


async def due():
    loop = asyncio.get_running_loop()
    everything = loop.create_future()
    ran = 0

    def callback():
        nonlocal ran
        ran += 1
        if ran == size:
            everything.set_result(None)

    for n in range(size):
        loop.call_later((1 + n % 20) / 1_000, callback)
    time.sleep(0.06)
    start = time.perf_counter_ns()
    await everything
    return time.perf_counter_ns() - start


async def measure_due():
    return {"due": [await due() / size for _ in range(rounds)]}


async def measure_create_and_cancel():
    figures = {"create": [], "cancel": []}
    repeat = max(1, 20_000 // size) if rounds > 1 else 1
    for _ in range(rounds):
        create = cancel = 0
        for _ in range(repeat):
            created, cancelled = await create_and_cancel()
            create += created
            cancel += cancelled
        figures["create"].append(create / (size * repeat))
        figures["cancel"].append(cancel / (size * repeat))
    return figures


async def main():
    measure = measure_due if only_due else measure_create_and_cancel
    print(json.dumps(await measure()))


asyncio.run(main())
