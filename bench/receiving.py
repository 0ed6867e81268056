"""Receivers of webhooks, many in one process: some answer at once, some never.

`python -m bench.receiving HANGING` prints the ports, the healthy receiver's first. Asked on its input for
`count`, it prints how many deliveries that one got; for `arrivals`, when each had happened and when it came.
"""

import asyncio
import json
import sys
import time
from datetime import datetime

ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
END = b"\r\n\r\n"


class Healthy:
    """Answers at once, and remembers when each event arrived and when it had happened."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[float, float]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(END)
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        self.arrivals.append((datetime.fromisoformat(body["timestamp"]).timestamp(), time.time()))
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read everything and never answer."""
    while await reader.read(65536):
        pass
    writer.close()


async def main(hanging: int) -> None:
    healthy = Healthy()
    servers = [await asyncio.start_server(healthy.serve, "127.0.0.1", 0, backlog=1024)]
    servers += [await asyncio.start_server(hang, "127.0.0.1", 0) for _ in range(hanging)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    loop = asyncio.get_running_loop()
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if command == "count":
            print(len(healthy.arrivals), flush=True)
        else:
            print(json.dumps(healthy.arrivals), flush=True)
            healthy.arrivals = []


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
