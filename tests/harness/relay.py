"""Passes connections on: a process that a test can stop, kill and replace. Run as a program.

Its arguments are a file descriptor that listens, and the port to which it leads.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass octets on in one direction until there are no more."""
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
    writer.close()


async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lead one connection to the port."""
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(carry(reader, back), carry(there, writer))


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(meet, sock=socket.socket(fileno=int(sys.argv[1])))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
