"""
For asyncio programs: a peer's stream as reader and writer, on Twisted's asyncio reactor.

Run `python examples/asyncio_stream.py RENDEZVOUS NAME`: it sends each line of its standard input to
the peer with that name, and prints what comes back. `examples/echo_peer.py` is a good other side.
"""

import asyncio
import sys
from typing import Any

from twisted.internet import asyncioreactor, protocol, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from holepunch import Identity, Peer


class AsyncioStream(protocol.Protocol):
    """
    Gives an asyncio program a `StreamReader`, and `write` and `drain` as a `StreamWriter` has them.
    """

    transport: Any

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self._canWrite = asyncio.Event()
        self._canWrite.set()

    def connectionMade(self) -> None:
        # Each side pauses the other one when it cannot keep up.
        self.reader.set_transport(self)  # type: ignore[arg-type]
        self.pause_reading = self.transport.pauseProducing
        self.resume_reading = self.transport.resumeProducing
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        self.reader.feed_eof()
        self._canWrite.set()

    def pauseProducing(self) -> None:
        self._canWrite.clear()

    def resumeProducing(self) -> None:
        self._canWrite.set()

    stopProducing = resumeProducing

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def drain(self) -> None:
        await self._canWrite.wait()


async def talk(reactor: Any, rendezvous: str, name: str) -> None:
    loop = asyncio.get_running_loop()
    peer = Peer(reactor, Identity.generate(), rendezvous)
    endpoint = peer.connectEndpoint(name)
    connected = endpoint.connect(protocol.Factory.forProtocol(AsyncioStream))
    stream: Any = await connected.asFuture(loop)
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        stream.write(line)
        await stream.drain()
        print((await stream.reader.readline()).decode(), end="", flush=True)
    await peer.stopService().asFuture(loop)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    asyncioreactor.install()
    task.react(
        lambda reactor: Deferred.fromFuture(asyncio.ensure_future(talk(reactor, *sys.argv[1:])))
    )
