"""
How fast a stream over a punched TCP connection is, beside Twisted's own TLS and plain TCP.

All three run between two processes over loopback; the two kinds of TLS have the same OpenSSL
context, TLS 1.3 with Ed25519 keys. Processor time is that of both processes.

Owns: the three kinds of transport, four kinds of traffic, and the comparison.
Knows nothing of: hole punching: a path that was punched is an ordinary TCP connection.
Driven by: C{python benchmarks/stream.py [--json] [--rounds N] [--megabytes N] ...}.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.protocols.basic import FileSender
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.identity import Identity
from holepunch.peer.address import PunchedAddress
from holepunch.peer.securestream import SecureStream
from holepunch.tls import IdentityTLS

if TYPE_CHECKING:
    from benchmarks.child import python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
else:
    from child import python, running, say
    from comparison import Comparison, measureInTurn, publish

HOST = "127.0.0.1"
PIECE = 128
CHUNK = 1 << 16
MEGABYTE = 1_000_000

TRANSPORTS = {"twisted": "Twisted's TLS", "secure": "SecureStream", "tcp": "plain TCP"}
TRAFFIC = {
    "push": f"push producer, {CHUNK >> 10} KiB a write",
    "pull": "pull producer (FileSender)",
    "small": f"push producer, {PIECE} bytes a write",
    "echo": f"{PIECE} bytes to and fro",
}


def factoryFor(reactor: Any, transport: str, isClient: bool, protocol: Protocol) -> Any:
    """
    What puts one kind of transport under a protocol.
    """
    factory = ClientFactory.forProtocol(lambda: protocol)
    factory.noisy = False
    if transport == "tcp":
        return factory
    identity = Identity.generate()
    tls = IdentityTLS(identity)
    if transport == "twisted":
        return TLSMemoryBIOFactory(tls, isClient, factory, reactor)
    address = PunchedAddress.of(Transport.TCP, TransportAddress(HOST, 9), identity.peerID)

    def handshakeDone(stream: SecureStream, failure: Failure | None) -> None:
        if failure is not None:
            failure.raiseException()
        stream.attach(protocol)

    def build() -> SecureStream:
        connection = tls.newConnection(isClient)
        return SecureStream(reactor, connection, address, address, handshakeDone)

    secured = ClientFactory.forProtocol(build)
    secured.noisy = False
    return secured


class Receiver(Protocol):
    """
    Takes so many bytes, and says how long that took from the first of them on.
    """

    transport: Any

    def __init__(self, size: int, isEcho: bool) -> None:
        self._left = size
        self._isEcho = isEcho
        self._startedAt = 0.0
        self._usedBefore = 0.0

    def dataReceived(self, data: bytes) -> None:
        """
        Count.
        """
        if not self._startedAt:
            self._startedAt, self._usedBefore = time.perf_counter(), time.process_time()
        self._left -= len(data)
        if self._isEcho:
            self.transport.write(data)
        if self._left <= 0:
            say(
                seconds=time.perf_counter() - self._startedAt,
                used=time.process_time() - self._usedBefore,
            )
            if not self._isEcho:
                self.transport.write(b"!")


@implementer(IPushProducer)
class Source:
    """
    Writes as long as nobody tells it to pause.
    """

    def __init__(self, consumer: Any, size: int, chunk: bytes) -> None:
        self._consumer = consumer
        self._left = size
        self._chunk = chunk
        self._isPaused = False
        consumer.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """
        Write.
        """
        self._isPaused = False
        while self._left > 0 and not self._isPaused:
            self._left -= len(self._chunk)
            self._consumer.write(self._chunk)
        if self._left <= 0:
            self._left = 0
            self._consumer.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Stop writing.
        """
        self._isPaused = True

    def stopProducing(self) -> None:
        """
        The connection is gone: C{connectionLost} ends the program.
        """
        self._isPaused = True


class Zeros:
    """
    A file that is read from memory.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._content = bytes(CHUNK)

    def read(self, size: int) -> bytes:
        """
        The next bytes.
        """
        size = min(size, self._left)
        self._left -= size
        return self._content[:size]


class Sender(Protocol):
    """
    Sends one kind of traffic, and waits until the receiver has everything.
    """

    transport: Any

    def __init__(self, traffic: str, size: int) -> None:
        self._traffic = traffic
        self._left = size
        self._usedBefore = 0.0
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self._usedBefore = time.process_time()
        if self._traffic == "echo":
            self.transport.write(bytes(PIECE))
        elif self._traffic == "pull":
            FileSender().beginFileTransfer(Zeros(self._left), self.transport)
        else:
            Source(self.transport, self._left, bytes(PIECE if self._traffic == "small" else CHUNK))

    def dataReceived(self, data: bytes) -> None:
        """
        An echo, or the end.
        """
        if self._traffic == "echo":
            self._left -= len(data)
            if self._left > 0:
                self.transport.write(data)
                return
        say(used=time.process_time() - self._usedBefore)
        self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Too early?
        """
        if not self.done.called:
            self.done.errback(reason)


def receive(reactor: Any, options: argparse.Namespace) -> Deferred[None]:
    """
    In a process of its own: the side that counts.
    """
    receiver = Receiver(options.size, options.traffic == "echo")
    factory = factoryFor(reactor, options.transport, False, receiver)
    say(port=reactor.listenTCP(0, factory, interface=HOST).getHost().port)
    return Deferred()


def send(reactor: Any, options: argparse.Namespace) -> Deferred[None]:
    """
    In a process of its own: the side that sends.
    """
    sender = Sender(options.traffic, options.size)
    factory = factoryFor(reactor, options.transport, True, sender)
    reactor.connectTCP(HOST, options.port, factory)
    return sender.done


def transfer(transport: str, traffic: str, size: int) -> tuple[float, float]:
    """
    Measure once.

    @return: Seconds, and seconds of processor time.
    """
    arguments = (f"--transport={transport}", f"--traffic={traffic}", f"--size={size}")
    with running(*python(__file__, "--role=receive", *arguments)) as receiver:
        port = f"--port={receiver.says()['port']}"
        with running(*python(__file__, "--role=send", port, *arguments)) as sender:
            received, sent = receiver.says(), sender.says()
    return received["seconds"], received["used"] + sent["used"]


def compare(traffic: str, size: int, repetitions: int) -> list[Comparison]:
    """
    Measure one kind of traffic over all transports.
    """
    subjects: dict[str, Callable[[], tuple[float, float]]] = {
        name: partial(transfer, transport, traffic, size) for transport, name in TRANSPORTS.items()
    }
    measured = measureInTurn(subjects, repetitions)
    amount, unit = (size / PIECE, "round trips") if traffic == "echo" else (size / MEGABYTE, "MB")
    return [
        Comparison(
            title=f"{TRAFFIC[traffic]}: {unit} a {span}",
            reference=TRANSPORTS["twisted"],
            samples={
                name: [amount / each[column] for each in values]
                for name, values in measured.items()
            },
        )
        for column, span in enumerate(("second", "processor second"))
    ]


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=float, default=300, help="in large writes")
    parser.add_argument("--small-megabytes", type=float, default=60, help="in small writes")
    parser.add_argument("--echoes", type=int, default=5000)
    parser.add_argument("--only", choices=list(TRAFFIC), action="append")
    for hidden in ("--role", "--transport", "--traffic"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--size", "--port"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        task.react({"receive": receive, "send": send}[options.role], (options,))
    large, small = (
        int(megabytes * MEGABYTE) for megabytes in (options.megabytes, options.small_megabytes)
    )
    sizes = {"push": large, "pull": large, "small": small, "echo": options.echoes * PIECE}
    comparisons = [
        each
        for traffic in options.only or TRAFFIC
        for each in compare(traffic, sizes[traffic], options.rounds)
    ]
    publish(comparisons, options.rounds, options.json)


if __name__ == "__main__":
    main()
