"""
Each cause, injected in the simulated internet, is the one that the explanation names.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from holepunch.address import TransportAddress
from holepunch.explain import Cause, Explanation, explain
from holepunch.identity import Identity
from holepunch.lab import HostSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.nat.packet import Packet, Protocol
from holepunch.rendezvous.introduction import Answer
from holepunch.rendezvous.service import RendezvousService
from tests.cli.network import Told
from tests.explain.middlebox import Middlebox, accept, isOfService, noRoute, reset
from tests.explain.stage import TCP, UDP, StageTestCase
from tests.peer.network import EchoFactory

CONES = "port-restricted/port-restricted"
NATS = ("nat-alice", "nat-bob")
CONE = NAMED_BEHAVIOURS["port-restricted"]


def isDirectTCP(packet: Packet) -> bool:
    """
    TCP from peer to peer.
    """
    return packet.protocol is Protocol.TCP and not isOfService(packet)


def isPunching(packet: Packet) -> bool:
    """
    All TCP but the main connection.
    """
    ports = (packet.source.port, packet.destination.port)
    return packet.protocol is Protocol.TCP and not (isOfService(packet) and 4460 in ports)


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


class ConnectedTests(CauseTestCase):
    """
    Sessions that found a path.
    """

    def test_throughNATs(self) -> None:
        """
        Two cones let a path through the holes, and the sentence says so.
        """
        for transports in (TCP, UDP):
            self.stage(CONES)
            self.session(transports)
            words = ("directly", "where the service saw bob", "led nowhere")
            self.assertFromAnySide(Cause.CONNECTED, words)
            self.assertCause(Cause.CONNECTED, "alice", words=words)

    def test_otherSide(self) -> None:
        """
        The trace of the peer that was asked tells of the path, too.
        """
        self.stage(CONES)
        self.session(TCP)
        self.assertCause(Cause.CONNECTED, "bob", words=("bob and alice connected",))

    def test_closedOverUDP(self) -> None:
        """
        Who knows only that a UDP path was answered no more cannot know whether it was closed.
        """
        self.stage(CONES)
        self.session(UDP)
        self.assertCause(Cause.PATH_LOST, "bob", words=("or alice closed it",))

    def test_sameLAN(self) -> None:
        """
        On one LAN the private path is taken, because it is preferred.
        """
        self.stage("port-restricted")
        self.session(TCP)
        self.assertFromAnySide(Cause.CONNECTED, ("private network",))

    def test_public(self) -> None:
        """
        A public peer needs no hole.
        """
        self.stage("port-restricted/none")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("public address of its own",))

    def test_peerReflexive(self) -> None:
        """
        A symmetric NAT is reached at the address from which its checks come.
        """
        self.stage("full-cone/symmetric")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("only when its checks came",))

    def test_hairpin(self) -> None:
        """
        A carrier's NAT with hairpin turns the packets back.
        """
        self.stage("port-restricted/port-restricted/port-restricted")
        self.session(UDP)
        self.assertFromAnySide(Cause.CONNECTED, ("turned the packets back",))

    def test_decoyOnTheSide(self) -> None:
        """
        A stranger at the private address is mentioned, though the session connects.
        """
        network = self.stage(Topology.sameSubnet(CONE, CONE))
        self.listen()
        self.startDecoys()
        self.ping(TCP)
        network.internet.advance(20.0)
        self.assertFromAnySide(Cause.CONNECTED)

    def test_lost(self) -> None:
        """
        A path that is cut later was lost, and not closed.
        """
        network = self.stage(CONES)
        self.listen()
        self.ping(UDP, stay=100.0)
        network.internet.advance(10.0)
        for name in NATS:
            network.internet.fabric.nat(name).block(Protocol.UDP)
        network.internet.advance(60.0)
        self.assertFromAnySide(Cause.PATH_LOST, ("has not answered",))


class NATTests(CauseTestCase):
    """
    NATs and firewalls that let no path through.
    """

    def inject(self, topology: Topology | str, transports: Any, inject: Any = None) -> None:
        """
        Let alice try, with something in the way.
        """
        network = self.stage(topology)
        self.listen()
        if inject is not None:
            inject(network.internet.fabric)
        self.ping(transports)
        network.internet.advance(40.0)

    def test_bothSymmetric(self) -> None:
        """
        Two symmetric NATs map by destination, which either trace alone shows as well.
        """
        for transports in (TCP, UDP):
            self.inject("symmetric-random/symmetric-random", transports)
            self.assertFromAnySide(Cause.BOTH_MAP_BY_DESTINATION, ("alice", "bob"))
            self.assertCause(Cause.BOTH_MAP_BY_DESTINATION, "alice")
            self.assertCause(Cause.BOTH_MAP_BY_DESTINATION, "bob")

    def test_oneSymmetric(self) -> None:
        """
        A symmetric NAT and a port-restricted one do not meet, and it is said which is which.
        """
        for transports in (TCP, UDP):
            self.inject("symmetric-random/port-restricted", transports)
            self.assertFromAnySide(Cause.MAPPING_MEETS_FILTER, ("alice's NAT", "bob sends"))
            self.inject("port-restricted/symmetric-random", transports)
            self.assertFromAnySide(Cause.MAPPING_MEETS_FILTER, ("bob's NAT", "alice sends"))
            self.assertCause(Cause.MAPPING_MEETS_FILTER, "alice", words=("bob's NAT",))

    def test_blockedUDP(self) -> None:
        """
        Where UDP is blocked, it is said on which side.
        """
        for side in ("alice", "bob"):
            network = self.stage(CONES)
            network.internet.fabric.nat(f"nat-{side}").block(Protocol.UDP)
            self.session(UDP)
            self.assertFromAnySide(Cause.UDP_BLOCKED, (f"at {side}.",))
            self.assertCause(Cause.UDP_BLOCKED, "alice", words=(f"at {side}.",))
            self.assertCause(Cause.UDP_BLOCKED, "bob", words=(f"at {side}.",))

    def test_blockedUDPOnBothSides(self) -> None:
        """
        Where UDP is blocked on both sides, both are named.
        """
        network = self.stage(CONES)
        for name in NATS:
            network.internet.fabric.nat(name).block(Protocol.UDP)
        self.session(UDP)
        self.assertFromAnySide(Cause.UDP_BLOCKED, ("alice and bob",))

    def test_blockedTCP(self) -> None:
        """
        A network that passes no TCP but the main connection is named.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS[:1], isPunching))
        self.assertFromAnySide(Cause.TCP_BLOCKED, ("at alice.",))
        self.assertCause(Cause.TCP_BLOCKED, "alice", words=("at alice.",))

    def test_reset(self) -> None:
        """
        A firewall that answers with resets is recognised from either side.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, reset))
        self.assertFromAnySide(Cause.RESET_ON_THE_WAY, ("31.2.0.1", "refused"))
        self.assertCause(Cause.RESET_ON_THE_WAY, "alice")
        self.assertCause(Cause.RESET_ON_THE_WAY, "bob")

    def test_proxy(self) -> None:
        """
        Somebody who accepts connections in the peer's name is not taken for the peer.
        """
        self.inject(CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, accept))
        self.assertFromAnySide(Cause.ANSWERED_FOR_THE_PEER, ("31.2.0.1",))
        self.assertCause(Cause.ANSWERED_FOR_THE_PEER, "alice")

    def test_decoy(self) -> None:
        """
        A stranger with the peer's private address is named, where the public one leads nowhere.
        """
        network = self.stage(Topology.sameSubnet(CONE, CONE))
        self.listen()
        Middlebox.install(network.internet.fabric, NATS, isDirectTCP)
        self.startDecoys()
        self.ping(TCP)
        network.internet.advance(40.0)
        self.assertFromAnySide(Cause.DECOY, ("192.168.1.20",))
        self.assertCause(Cause.DECOY, "alice", words=("192.168.1.20",))

    def test_noRoute(self) -> None:
        """
        A router that knows no way says so.
        """
        self.inject(
            CONES, TCP, lambda fabric: Middlebox.install(fabric, NATS, isDirectTCP, noRoute)
        )
        self.assertFromAnySide(Cause.NO_ROUTE, ("31.2.0.1",))

    def test_firewall(self) -> None:
        """
        Silence between two good NATs is a firewall's.
        """
        self.inject(
            CONES,
            UDP,
            lambda fabric: Middlebox.install(fabric, NATS, lambda packet: not isOfService(packet)),
        )
        self.assertFromAnySide(Cause.NOTHING_CAME_THROUGH)
        self.assertCause(Cause.NOTHING_CAME_THROUGH, "alice", words=("not known",))

    def test_noHairpin(self) -> None:
        """
        One outer NAT without hairpin is recognised by the address that both have.
        """
        carrier = attrs.evolve(CONE, hairpin=False)
        for transports in (TCP, UDP):
            self.inject(Topology.twoLevel(CONE, CONE, carrier), transports)
            self.assertFromAnySide(Cause.NO_HAIRPIN, ("31.3.0.1",))
            self.assertCause(Cause.NO_HAIRPIN, "alice", words=("31.3.0.1",))
            self.assertCause(Cause.NO_HAIRPIN, "bob")

    def test_loss(self) -> None:
        """
        Where few checks arrive, it is loss.
        """
        count = 0

        def isLost(packet: Packet) -> bool:
            nonlocal count
            count += not isOfService(packet)
            return not isOfService(packet) and count % 8 != 0

        self.inject(CONES, UDP, lambda fabric: Middlebox.install(fabric, NATS[1:], isLost))
        self.assertFromAnySide(Cause.LOSS, ("arrived",))


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
        network = self.stage(CONES)

        async def use(peer: Any) -> None:
            await peer.listenEndpoint().listen(EchoFactory())
            peer._sessions.sessionOffered = lambda introduction: Answer(False, text="too busy")
            await Deferred()

        self.command("bob", use, "bob")
        network.internet.advance(2.0)
        self.ping(TCP)
        network.internet.advance(20.0)
        self.assertCause(Cause.PEER_REFUSED, "alice", words=("Too busy",))


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
        options.identity.parent.mkdir()
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
