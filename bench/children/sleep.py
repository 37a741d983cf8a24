"""How late sleeps end in asyncio: sleep.py DELAY_MS SLEEPS.

Prints the lateness of each in microseconds.
"""

import asyncio
import json
import sys
import time

delay_ms, sleeps = float(sys.argv[1]), int(sys.argv[2])


async def main():
    late_us = []
    for _ in range(sleeps):
        start = time.perf_counter()
        await asyncio.sleep(delay_ms / 1_000)
        late_us.append((time.perf_counter() - start) * 1e6 - delay_ms * 1e3)
    print(json.dumps(late_us))


asyncio.run(main())
