"""
What runs in one host of the lab while C{benchmarks/connect.py} measures: the rendezvous service,
the peer that answers, or the peer that connects.

Owns: the programs, made of the library's public parts, and the clock that is read.
Knows nothing of: the lab; what the times are compared with.
Driven by: C{benchmarks/connect.py}, which runs it in each host and reads the JSON lines that it
writes to its standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any, cast

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol

from holepunch import Identity, Peer
from holepunch.address import Transport, TransportAddress
from holepunch.cli.trace import TraceWriter
from holepunch.peer import SessionOptions
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.events import Connected, Mapped, PeerEvent
from holepunch.punch import TCPFlow
from holepunch.rendezvous.service import RendezvousService

# Between the registration and the request, for whatever the two still have to say.
_PAUSE = 0.2
_OPTIONS = {
    "udp": SessionOptions(transports=frozenset({Transport.UDP})),
    "tcp-simultaneous": SessionOptions(tcpFlow=TCPFlow.SIMULTANEOUS),
    "tcp-sequential": SessionOptions(tcpFlow=TCPFlow.SEQUENTIAL),
}


def say(**values: Any) -> None:
    """
    Tell the benchmark.
    """
    print(json.dumps(values), flush=True)


class Echo(Protocol):
    """
    Sends back what it receives.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        cast(ITransport, self.transport).write(data)


class FirstByte(Protocol):
    """
    Sends one byte and waits for it.

    @ivar echoed: Fires with the moment at which it is back.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.echoed: Deferred[float] = Deferred()

    def connectionMade(self) -> None:
        """
        Send it.
        """
        cast(ITransport, self.transport).write(b"!")

    def dataReceived(self, data: bytes) -> None:
        """
        It is back.
        """
        self.echoed.callback(self._clock.seconds())
        cast(ITransport, self.transport).loseConnection()


async def serve(reactor: Any, options: argparse.Namespace) -> None:
    """
    Be the rendezvous service.
    """
    identity = Identity.generate()
    assist = [TransportAddress(host, 3478 + n) for n, host in enumerate(options.address)]
    RendezvousService(reactor, identity, assist=assist).startService()
    say(location=f"{identity.peerID}@{options.address[0]}")
    await Deferred()


async def answer(reactor: Any, options: argparse.Namespace) -> None:
    """
    Be the peer that others connect to.
    """
    identity = Identity.generate()
    with contextlib.ExitStack() as files:
        observe = observer(files, options.trace, identity, "bob")
        peer = Peer(reactor, identity, options.rendezvous, name="bob", observer=observe)
        await peer.listenEndpoint().listen(Factory.forProtocol(Echo))
        await peer.acceptDatagrams(lambda path: path.setReceiver(path.send))
        say(ready=True)
        await Deferred()


async def connect(reactor: Any, options: argparse.Namespace) -> None:
    """
    Be the peer that connects, anew for each run.
    """
    for run in range(options.runs):
        for kind in options.kind:
            trace = f"{options.trace}-{kind}-{run}" if options.trace else None
            pathAfter, echoAfter = await measure(reactor, options.rendezvous, kind, trace)
            say(kind=kind, path=pathAfter, echo=echoAfter)


async def measure(
    reactor: Any, rendezvous: str, kind: str, trace: str | None
) -> tuple[float, float]:
    """
    Register, wait, connect once.

    @return: Seconds from the call of C{connect} to the nominated path, and to the first byte back.
    """
    identity = Identity.generate()
    connected: list[Connected] = []
    warm: Deferred[None] = Deferred()
    with contextlib.ExitStack() as files:
        record = observer(files, trace, identity, "alice")

        def observe(event: PeerEvent) -> None:
            record(event)
            if isinstance(event, Connected):
                connected.append(event)
            elif isinstance(event, Mapped) and event.session is None and not warm.called:
                warm.callback(None)

        peer = Peer(reactor, identity, rendezvous, observer=observe)
        await peer.whenRegistered()
        await warm
        await task.deferLater(reactor, _PAUSE, lambda: None)
        options = _OPTIONS[kind]
        startedAt = reactor.seconds()
        if kind == "udp":
            echoedAt = await echoDatagram(reactor, await peer.openDatagrams("bob", options))
        else:
            factory = Factory.forProtocol(lambda: FirstByte(reactor))
            protocol = await peer.connectEndpoint("bob", options).connect(factory)
            echoedAt = await cast(FirstByte, protocol).echoed
        await peer.stopService()
    return connected[0].seconds, echoedAt - startedAt


async def echoDatagram(reactor: IReactorTime, path: DatagramPath) -> float:
    """
    Send a datagram, and wait for it.

    @return: The moment at which it is back.
    """
    echoed: Deferred[float] = Deferred()

    def received(data: bytes) -> None:
        if not echoed.called:
            echoed.callback(reactor.seconds())

    path.setReceiver(received)
    path.send(b"!")
    return await echoed


def observer(files: contextlib.ExitStack, path: str | None, identity: Identity, name: str) -> Any:
    """
    What writes a peer's trace, if that is wanted.
    """
    if path is None:
        return lambda event: None
    writer = TraceWriter.create(f"{path}-{name}.trace", identity.peerID, name)
    files.callback(writer.close)
    return writer.observe


def main() -> None:
    """
    Read the options, and be what they say.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "answer", "connect"])
    parser.add_argument("--address", action="append", default=[])
    parser.add_argument("--rendezvous")
    parser.add_argument("--kind", action="append", choices=list(_OPTIONS))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--trace")
    options = parser.parse_args()
    role = {"serve": serve, "answer": answer, "connect": connect}[options.role]
    task.react(lambda reactor: Deferred.fromCoroutine(role(reactor, options)))


if __name__ == "__main__":
    main()
