"""
Two commands in the simulated internet that write their traces: bob listens, alice pings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from holepunch.address import Transport
from holepunch.cli.trace import readTrace
from holepunch.explain import Cause, Explanation, Trace, explain
from holepunch.lab import Topology
from holepunch.nat.packet import Packet
from holepunch.peer import Peer, SessionOptions
from holepunch.rendezvous.introduction import RelayPolicy
from tests.cli.network import CommandTestCase, Told
from tests.explain.middlebox import accept
from tests.peer.network import EchoFactory, Network, RecorderFactory

CONES = "port-restricted/port-restricted"
AUTO = frozenset(Transport)
TCP = frozenset({Transport.TCP})
UDP = frozenset({Transport.UDP})

# What ran on dead machines must not be collected: it would try to clean up there.
_dead: list[Deferred[Any]] = []


def accepted(path: Any) -> None:
    """
    A path that nobody uses may be lost.
    """
    path.whenLost().addErrback(lambda failure: None)


class StageTestCase(CommandTestCase):
    """
    A test that injects what goes wrong, and reads the traces afterwards.

    @cvar patience: Seconds for the session.
    """

    patience = 10.0

    def stage(self, topology: Topology | str, relay: Sequence[int] | None = None) -> Network:
        """
        Build the network.

        @param relay: The ports of the service's relay, if it has one.
        """
        network = self.network = Network(topology, relay=relay)
        self.addCleanup(network.stop)
        self.files = Path(self.mktemp())
        self.files.mkdir()
        self.commands: dict[str, Deferred[Any]] = {}
        self.addCleanup(self.endCommands)
        return network

    def command(
        self,
        host: str,
        use: Callable[[Peer], Any],
        name: str,
        hosts: Sequence[str] | None = None,
        authoriser: Any = None,
        **changes: Any,
    ) -> Any:
        """
        Start a command that writes a trace.

        @param hosts: Which addresses the machine says that it has, if not its own.
        """
        options = self.options(trace=self.files / f"{name}.trace", timeout=30.0, **changes)
        running = self.start(
            host, use, Told(), name=name, options=options, hosts=hosts, authoriser=authoriser
        )
        self.commands[name] = running
        return running

    def listen(self, **changes: Any) -> Any:
        """
        Let bob accept everything, as long as the test lasts.
        """

        async def use(peer: Peer) -> None:
            await peer.listenEndpoint().listen(EchoFactory())
            await peer.acceptDatagrams(accepted)
            await Deferred()

        running = self.command("bob", use, "bob", **changes)
        self.network.internet.advance(1.0)
        return running

    def ping(
        self,
        transports: frozenset[Transport],
        target: str = "bob",
        stay: float = 0.0,
        name: str = "alice",
        relay: RelayPolicy = RelayPolicy.AUTO,
        **changes: Any,
    ) -> Any:
        """
        Let alice find a path, and stay for some seconds.
        """

        async def use(peer: Peer) -> None:
            options = SessionOptions(transports=transports, timeout=self.patience, relay=relay)
            path = await peer.openPingPath(target, options)
            if stay:
                lost: Deferred[None] = path.whenLost()
                reactor: Any = self.network.internet.host("alice").reactor
                await lost.addTimeout(stay, reactor, lambda result, seconds: None)
            path.close()

        return self.command("alice", use, name, **changes)

    def connect(self, transports: frozenset[Transport], stay: float = 0.0, **changes: Any) -> Any:
        """
        Let alice open a stream, and use it for some seconds.
        """

        async def use(peer: Peer) -> None:
            options = SessionOptions(transports=transports, timeout=self.patience)
            factory = RecorderFactory()
            recorder: Any = await peer.connectEndpoint("bob", options).connect(factory)
            reactor: Any = self.network.internet.host("alice").reactor
            beating = LoopingCall(recorder.transport.write, b"beat")
            beating.clock = reactor
            beating.start(0.5)
            try:
                await recorder.lost.addTimeout(stay, reactor, lambda result, seconds: None)
            finally:
                beating.stop()
            recorder.transport.loseConnection()

        return self.command("alice", use, "alice", **changes)

    def session(self, transports: frozenset[Transport], seconds: float = 40.0, **more: Any) -> None:
        """
        Let bob listen and alice ping, to the end.
        """
        self.listen()
        self.ping(transports, **more)
        self.network.internet.advance(seconds)

    def endCommands(self) -> None:
        """
        Interrupt what still runs.
        """
        for running in self.commands.values():
            running.addErrback(lambda failure: None)
            running.cancel()
        self.network.internet.advance(10.0)

    def crash(self, host: str) -> None:
        """
        Let a machine die with all that runs on it.
        """
        _dead.append(self.commands.pop(host))
        self.network.internet.host(host).crash()

    def startDecoys(self) -> None:
        """
        Let strangers accept every TCP connection at the peers' private addresses.
        """
        fabric = self.network.internet.fabric
        for name in ("decoy-alice", "decoy-bob"):

            def answer(packet: Packet, name: str = name) -> None:
                accepted = accept(packet)
                if accepted is not None:
                    fabric.send(name, accepted)

            fabric.attach(name, answer)

    def traces(self, *names: str) -> tuple[Trace, ...]:
        """
        Read traces.
        """
        self.endCommands()
        return tuple(readTrace(self.files / f"{name}.trace") for name in names)


class CauseTestCase(StageTestCase):
    """
    Compares what is named with what was injected.
    """

    def assertCause(self, cause: Cause, *names: str, words: tuple[str, ...] = ()) -> Explanation:
        """
        The traces of those peers name that cause, and its sentences hold those words.
        """
        found = explain(self.traces(*names))
        text = " ".join(found.sentences)
        self.assertIs(found.cause, cause, f"{found.sentences} {found.evidence}")
        for word in words:
            self.assertIn(word, text)
        self.assertTrue(found.sentences)
        for evidence in found.evidence:
            self.assertTrue(evidence.text)
        return found

    def assertFromAnySide(self, cause: Cause, words: tuple[str, ...] = ()) -> None:
        """
        Either order of both traces names the cause.
        """
        both = self.assertCause(cause, "alice", "bob", words=words)
        self.assertEqual(both.isComplete, both.limits == ())
        self.assertEqual(self.assertCause(cause, "bob", "alice").sentences, both.sentences)
