"""`python -m bench.watching PORT < PATHS`: follows the events at each path, and tells when each event came.

A program of its own, and one that does little, so that what it measures is the service. It says `listening`
when every stream has begun, and at the end of its input how late each event was, in seconds, as a JSON array.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime

PATIENCE = 120
# What a stream begins with: the job was queued before anybody listened.
FIRST = b"event: job.queued\n"
_TIMESTAMP = re.compile(rb'data: \{"type":"[a-z.]+","timestamp":"([^"]+)"')


async def _follow(port: int, path: str, begun: asyncio.Semaphore, late: list[float]) -> None:
    """Read one stream to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(FIRST)
    begun.release()
    # The rest of that first event, which is as old as its job.
    await reader.readuntil(b"\n\n")
    while data := await reader.read(65_536):
        now = time.time()
        happened = (datetime.fromisoformat(told.decode()) for told in _TIMESTAMP.findall(data))
        late += [now - moment.timestamp() for moment in happened]
    writer.close()


async def _main(port: int, paths: Sequence[str]) -> None:
    begun, late = asyncio.Semaphore(0), list[float]()
    streams = [asyncio.create_task(_follow(port, path, begun, late)) for path in paths]
    for _ in streams:
        await asyncio.wait_for(begun.acquire(), PATIENCE)
    print("listening", flush=True)
    await asyncio.wait_for(asyncio.gather(*streams), PATIENCE)
    print(json.dumps(late), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.stdin.read().split()))
