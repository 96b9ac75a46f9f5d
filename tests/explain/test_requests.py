"""
What ends a session from outside of the punching, injected and named.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from holepunch.address import Transport, TransportAddress
from holepunch.explain import Cause, Ended, Trace, explain
from holepunch.identity import Identity, PeerID
from holepunch.lab import HostSpec, Topology
from holepunch.peer import PeerConfig
from holepunch.peer.events import Failed, Introduced, PeerEvent, Punched
from holepunch.punch import EventKind, PunchEvent
from holepunch.rendezvous.service import RendezvousService
from tests.cli.network import Told
from tests.explain.stage import CONES, TCP, UDP, CauseTestCase
from tests.peer.network import EchoFactory


class MachineTests(CauseTestCase):
    """
    The machines of the peers.
    """

    def test_families(self) -> None:
        """
        IPv4 on one side and IPv6 on the other do not meet.
        """
        network = self.stage(
            Topology(
                (
                    HostSpec(name="rendezvous", addresses=("5.1.0.1", "2a00::1")),
                    HostSpec(name="alice", addresses="31.1.0.10"),
                    HostSpec(name="bob", addresses="2a00::20"),
                )
            )
        )
        network.waitFor(network.service.stopService())
        reactor: Any = network.internet.host("rendezvous").reactor
        network.service = RendezvousService(
            reactor,
            network.serviceIdentity,
            main=["tcp:4460", "tcp6:4460:interface=2a00\\:\\:1"],
            assist=[TransportAddress(host, 3478) for host in ("5.1.0.1", "2a00::1")],
        )
        network.service.startService()
        self.listen(rendezvous=f"{network.serviceIdentity.peerID}@[2a00::1]")
        self.ping(TCP)
        network.internet.advance(40.0)
        self.assertFromAnySide(Cause.NO_COMMON_FAMILY, ("alice has IPv4", "bob IPv6"))
        self.assertCause(Cause.NO_COMMON_FAMILY, "bob", words=("bob has IPv6",))

    def test_noLocalPort(self) -> None:
        """
        A machine without an address has nothing to punch from.
        """
        network = self.stage(CONES)
        self.ping(TCP, hosts=())
        network.internet.advance(20.0)
        self.assertCause(Cause.LOCAL_PORTS, "alice")


class PeerTests(CauseTestCase):
    """
    The other peer is not there, or does not want to.
    """

    def test_unknown(self) -> None:
        """
        A name that nobody has is named.
        """
        network = self.stage(CONES)
        self.ping(TCP, target="carol")
        network.internet.advance(10.0)
        self.assertCause(Cause.PEER_UNKNOWN, "alice", words=("carol",))

    def test_offline(self) -> None:
        """
        A peer that was there before is offline, as its own trace shows.
        """
        network = self.stage(CONES)
        self.listen().cancel()
        network.internet.advance(5.0)
        self.ping(TCP)
        network.internet.advance(10.0)
        self.assertFromAnySide(Cause.PEER_UNKNOWN, ("not at that moment",))

    def test_notListening(self) -> None:
        """
        A peer that is online and accepts nothing says so.
        """
        network = self.stage(CONES)

        async def use(peer: Any) -> None:
            await Deferred()

        self.command("bob", use, "bob")
        network.internet.advance(2.0)
        self.ping(TCP)
        network.internet.advance(10.0)
        self.assertFromAnySide(Cause.PEER_NOT_LISTENING)

    def test_vanished(self) -> None:
        """
        A peer whose machine dies in the middle of the session vanished, as its own trace shows.
        """
        network = self.stage("symmetric-random/symmetric-random")
        self.listen()
        self.ping(UDP)
        network.internet.advance(3.0)
        self.crash("bob")
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.PEER_VANISHED, ("bob's trace ends",))

    def test_stopped(self) -> None:
        """
        A peer that is stopped in the middle of the session vanished, for both.
        """
        network = self.stage("symmetric-random/symmetric-random")
        running = self.listen()
        self.ping(UDP)
        network.internet.advance(3.0)
        running.cancel()
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.PEER_VANISHED, ("bob",))
        self.assertCause(Cause.PEER_VANISHED, "alice")

    def test_cancelled(self) -> None:
        """
        Who gives up is not blamed on the network.
        """
        network = self.stage("symmetric-random/symmetric-random")
        self.listen()
        running = self.ping(UDP)
        network.internet.advance(3.0)
        running.cancel()
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.CANCELLED, ("alice gave up",))

    def test_refused(self) -> None:
        """
        A peer that has too many sessions under way refuses one more.
        """
        network = self.stage("symmetric-random/symmetric-random")
        bob = network.peer("bob", "bob", config=PeerConfig(sessionLimit=1))
        network.listen(bob, EchoFactory())
        self.ping(TCP, name="first")
        network.internet.advance(2.0)
        self.ping(TCP)
        network.internet.advance(20.0)
        self.assertCause(Cause.PEER_REFUSED, "alice", words=("too many sessions",))


class ServiceTests(CauseTestCase):
    """
    The rendezvous service.
    """

    def test_unreachable(self) -> None:
        """
        A service that is not there is told from everything else.
        """
        network = self.stage(CONES)
        network.waitFor(network.service.stopService())
        self.ping(TCP)
        network.internet.advance(40.0)
        self.assertCause(Cause.SERVICE_UNREACHABLE, "alice")
        network.startService()

    def test_lost(self) -> None:
        """
        A service that stops in the middle is to blame for a session that fails.
        """
        network = self.stage("symmetric-random/symmetric-random")
        self.listen()
        self.ping(UDP)
        network.internet.advance(3.0)
        network.waitFor(network.service.stopService())
        network.internet.advance(40.0)
        self.assertFromAnySide(Cause.SERVICE_LOST, ("alice lost",))
        self.assertCause(Cause.SERVICE_LOST, "bob", words=("bob lost",))
        network.startService()

    def test_silent(self) -> None:
        """
        A service whose machine dies before it answers was lost as well.
        """
        network = self.stage(CONES)
        self.listen()
        self.ping(UDP)
        network.internet.advance(0.1)
        network.internet.host("rendezvous").crash()
        network.internet.advance(60.0)
        self.assertCause(Cause.SERVICE_LOST, "alice")
        network.internet.host("rendezvous").boot()
        network.startService()

    def test_wrongIdentity(self) -> None:
        """
        A service with another key than expected is not spoken to.
        """
        network = self.stage(CONES)
        address = network.location.partition("@")[2]
        self.ping(TCP, rendezvous=f"{Identity.generate().peerID}@{address}")
        network.internet.advance(20.0)
        self.assertCause(Cause.WRONG_IDENTITY, "alice")

    def test_nameTaken(self) -> None:
        """
        A name that somebody has is refused by the service.
        """
        network = self.stage(CONES)
        self.listen()

        async def use(peer: Any) -> None:
            await Deferred()

        options = self.options(trace=self.files / "impostor.trace")
        running = self.start("alice", use, Told(), name="bob", options=options)
        running.addErrback(lambda failure: None)
        network.internet.advance(20.0)
        self.assertCause(Cause.SERVICE_REFUSED, "impostor")


class OtherTests(CauseTestCase):
    """
    Traces that tell little.
    """

    def test_noSession(self) -> None:
        """
        A peer that waited, and was asked for by nobody, has no session.
        """
        network = self.stage(CONES)

        async def use(peer: Any) -> None:
            await peer.listenEndpoint().listen(EchoFactory())

        self.command("bob", use, "bob")
        network.internet.advance(5.0)
        self.assertCause(Cause.NO_SESSION, "bob", words=("nobody asked",))

    def test_unfinished(self) -> None:
        """
        A session whose program was killed has no outcome.
        """
        network = self.stage("symmetric-random/symmetric-random")
        self.listen()
        self.ping(UDP)
        network.internet.advance(3.0)
        self.crash("alice")
        found = self.assertCause(Cause.UNFINISHED, "alice")
        self.assertFalse(found.isComplete)
        self.assertIn("cut short", " ".join(found.limits))

    def test_unknown(self) -> None:
        """
        Where the trace shows no cause, none is invented, and the error stands as it is.
        """
        alice, bob = (PeerID.fromPublicKey(bytes([each]) * 32) for each in (1, 2))
        told = (
            Introduced(at=0.0, session="s", remotePeer=bob, remoteName="bob", isRequester=True),
            Failed(at=1.0, session="s", reason="something new"),
        )
        found = explain([Trace(peer=alice, name="alice", events=told, ended=Ended(at=1.0))])
        self.assertIs(found.cause, Cause.UNKNOWN)
        self.assertFalse(found.isExplained)
        self.assertIn("something new", found.sentences[0])

    def test_addressInUse(self) -> None:
        """
        Connects that all fail because the local port is taken are this machine's affair.
        """
        alice, bob = (PeerID.fromPublicKey(bytes([each]) * 32) for each in (1, 2))
        steps = [
            PunchEvent(
                at=number / 10,
                kind=kind,
                transport=Transport.TCP,
                local=TransportAddress("192.168.1.10", 5000),
                remote=TransportAddress("31.2.0.1", 6000),
                connection=number,
                detail=detail,
            )
            for number in range(3)
            for kind, detail in (
                (EventKind.CONNECT_STARTED, ""),
                (EventKind.CONNECT_FAILED, "address in use"),
            )
        ]
        told: tuple[PeerEvent, ...] = (
            Introduced(at=0.0, session="s", remotePeer=bob, remoteName="bob", isRequester=True),
            *(Punched(at=step.at, session="s", event=step) for step in steps),
            Failed(at=1.0, session="s", reason="no path"),
        )
        found = explain([Trace(peer=alice, name="alice", events=told, ended=Ended(at=1.0))])
        self.assertIs(found.cause, Cause.LOCAL_PORTS)
        self.assertIn("192.168.1.10:5000", found.sentences[0])
