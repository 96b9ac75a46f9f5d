"""
A program: two of aioice's TURN clients that talk to each other through a relay.

C{python aioiceclient.py PORT USERNAME PASSWORD udp|tcp} prints C{ok}.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from aioice import turn

_HOST = "127.0.0.1"


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))


async def main(port: int, username: str, password: str, transport: str) -> None:
    """
    Send to and fro.
    """
    endpoints = [
        await turn.create_turn_endpoint(
            _Receiver, (_HOST, port), username, password, transport=kind
        )
        for kind in (transport, "udp")
    ]
    (one, first), (two, second) = endpoints
    here, there = one.get_extra_info("sockname"), two.get_extra_info("sockname")
    # Sending binds a channel, and with it permits the other side.
    two.sendto(b"opens the door", here)
    while first.received.empty():
        one.sendto(b"probe", there)
        two.sendto(b"probe", here)
        await asyncio.sleep(0.05)
    for size in (1, 100, 1201, 5000):
        data = os.urandom(size)
        for sender, receiver, source, target in (
            (one, second, here, there),
            (two, first, there, here),
        ):
            sender.sendto(data, target)
            while (got := await receiver.received.get())[0] != data:
                pass
            assert got[1] == source, got
    for endpoint, _ in endpoints:
        endpoint.close()
    await asyncio.sleep(0.2)
    print("ok")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
