"""
What runs in one host of the lab while C{benchmarks/connect.py} and C{benchmarks/gap.py} measure:
the rendezvous service, the peer that answers, one that connects, or one that stays connected.

Owns: the programs, made of the library's public parts, and the clock that is read.
Knows nothing of: the lab; what the times are compared with.
Driven by: those two, which run it in each host and read the JSON lines that it writes to its
standard output.
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
from holepunch.peer.events import Connected, Mapped, PeerEvent
from holepunch.peer.openpath import OpenPath
from holepunch.punch import TCPFlow
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.service import RendezvousService

# Between the registration and the request, for whatever the two still have to say.
_PAUSE = 0.2
_NEVER = RelayPolicy.NEVER
_OPTIONS = {
    "udp": SessionOptions(transports=frozenset({Transport.UDP}), relay=_NEVER),
    "tcp-simultaneous": SessionOptions(tcpFlow=TCPFlow.SIMULTANEOUS, relay=_NEVER),
    "tcp-sequential": SessionOptions(tcpFlow=TCPFlow.SEQUENTIAL, relay=_NEVER),
    "relay": SessionOptions(transports=frozenset(Transport), relay=RelayPolicy.ONLY),
}
_RELAY_PORT = 3500
_BEAT = 0.05
_SETTLED = 4.0


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
    relay = RelayService(reactor, [TransportAddress(options.address[0], _RELAY_PORT)])
    RendezvousService(reactor, identity, assist=assist, relay=relay).startService()
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


async def echoDatagram(reactor: IReactorTime, path: OpenPath) -> float:
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


class Beats(Protocol):
    """
    Notes when something came.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.heardAt = clock.seconds()

    def dataReceived(self, data: bytes) -> None:
        """
        An echo.
        """
        self.heardAt = self._clock.seconds()


async def stay(reactor: Any, options: argparse.Namespace) -> None:
    """
    Be the peer that stays connected; say when it is settled, and at last the longest silence since.
    """
    peer = Peer(reactor, Identity.generate(), options.rendezvous)
    await peer.whenRegistered()
    wanted = SessionOptions(transports=frozenset(Transport))
    endpoint = peer.connectEndpoint("bob", wanted)
    beats = cast(Beats, await endpoint.connect(Factory.forProtocol(lambda: Beats(reactor))))
    transport = cast(ITransport, beats.transport)

    async def watch(seconds: float) -> float:
        longest, end = 0.0, reactor.seconds() + seconds
        while reactor.seconds() < end:
            transport.write(b"8 bytes.")
            await task.deferLater(reactor, _BEAT, lambda: None)
            longest = max(longest, reactor.seconds() - beats.heardAt)
        return longest

    await watch(_SETTLED)
    say(ready=True)
    say(gap=await watch(options.seconds))
    await peer.stopService()


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
    parser.add_argument("role", choices=["serve", "answer", "connect", "stay"])
    parser.add_argument("--address", action="append", default=[])
    parser.add_argument("--rendezvous")
    parser.add_argument("--kind", action="append", choices=list(_OPTIONS))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--trace")
    options = parser.parse_args()
    role = {"serve": serve, "answer": answer, "connect": connect, "stay": stay}[options.role]
    task.react(lambda reactor: Deferred.fromCoroutine(role(reactor, options)))


if __name__ == "__main__":
    main()
