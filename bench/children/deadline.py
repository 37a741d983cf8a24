"""Turns until a deadline is seen beside long steps: deadline.py LIMIT_MS STEP_MS ROUNDS.

Prints the turns of each round.
"""

import asyncio
import json
import sys
import time

limit, step = float(sys.argv[1]) / 1_000, float(sys.argv[2]) / 1_000
rounds = int(sys.argv[3])


async def main():
    counts = []
    for _ in range(rounds):
        turns = 0
        try:
            async with asyncio.timeout(limit):
                while True:
                    until = time.perf_counter() + step
                    while time.perf_counter() < until:
                        pass
                    turns += 1
                    await asyncio.sleep(0)
        except TimeoutError:
            counts.append(turns)
        await asyncio.sleep(limit)
    print(json.dumps(counts))


asyncio.run(main())
