"""
Tests for L{holepunch.peer.outofband}: sessions over somebody else's channel, through simulated
NATs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from holepunch.address import Transport
from holepunch.errors import (
    BadAddress,
    NoPathFound,
    PeerIsSelf,
    SessionError,
    UnknownHost,
    WrongPeer,
)
from holepunch.identity import Identity, PeerID
from holepunch.peer import FixedHostAddresses, SessionOptions, TextSignalling, openStreamOver
from holepunch.peer.events import Connected, PeerEvent, Punched, Signalled
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.securestream import SecureStream
from holepunch.peer.streamendpoints import attachProtocol
from holepunch.punch import EventKind, TCPFlow
from holepunch.rendezvous.introduction import RelayPolicy
from tests.peer.network import EchoFactory, Network, Recorder, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

ALICE, BOB = Identity.generate(), Identity.generate()
HOSTS = {ALICE.peerID: "alice", BOB.peerID: "bob"}

Alter = Callable[[str], str | None]


def options(*transports: Transport, **more: Any) -> SessionOptions:
    return SessionOptions(
        transports=frozenset(transports or Transport), relay=RelayPolicy.NEVER, **more
    )


ANYHOW = options()


class Channel:
    """
    A chat of two, with all that was said in it.

    @ivar alter: What becomes of each line, if somebody has a hand in it.
    """

    def __init__(self, network: Network, delay: float = 0.5) -> None:
        self.network = network
        self.delay = delay
        self.said: list[str] = []
        self.alter: Alter = lambda line: line
        self.ends: dict[PeerID, TextSignalling] = {}
        for local, remote in ((ALICE, BOB), (BOB, ALICE)):
            self.ends[local.peerID] = TextSignalling(local.peerID, remote.peerID, self.say)

    def say(self, line: str) -> None:
        self.said.append(line)
        altered = self.alter(line)
        if altered is not None:
            clock: Any = self.network.internet.clock
            clock.callLater(self.delay, self.arrive, altered)

    def arrive(self, line: str) -> None:
        # Both see what is said in a chat, their own lines included.
        for end in self.ends.values():
            end.received(line)


class OutOfBandTestCase(ScenarioTestCase):
    """
    Alice and bob have a channel, and nothing of the service but its STUN.
    """

    def begin(self, topology: str, seed: int = 0) -> Channel:
        self.network = self.build(topology, seed)
        self.seen: dict[str, list[PeerEvent]] = {"alice": [], "bob": []}
        self.channel = Channel(self.network)
        return self.channel

    def open(
        self,
        identity: Identity,
        remote: PeerID | None = None,
        asked: SessionOptions = ANYHOW,
        **more: Any,
    ) -> Deferred[SecureStream | QUICStream]:
        name = HOSTS.get(identity.peerID, "bob")
        host = self.network.internet.host(name)
        other = BOB if identity is ALICE else ALICE
        reactor: Any = host.reactor
        stun = [f"{each}:{3478 + index}" for index, each in enumerate(self.stunHosts)]
        return openStreamOver(
            reactor,
            identity,
            other.peerID if remote is None else remote,
            self.channel.ends[ALICE.peerID if identity is ALICE else BOB.peerID],
            **{
                "stun": stun,
                "options": asked,
                "hostAddresses": FixedHostAddresses(host.addresses),
                "observer": self.seen[name].append,
                **more,
            },
        )

    @property
    def stunHosts(self) -> tuple[str, ...]:
        return tuple(self.network.internet.host("rendezvous").addresses)

    def both(self, asked: SessionOptions = ANYHOW) -> tuple[Deferred[Any], Deferred[Any]]:
        return self.open(ALICE, asked=asked), self.open(BOB, asked=asked)

    def attach(self, stream: Any, factory: Factory) -> Recorder:
        return cast(Recorder, attachProtocol(stream, factory))

    def assertTalk(self, near: Deferred[Any], far: Deferred[Any]) -> Connected:
        """
        Both get a stream with the other one, and what alice says comes back.
        """
        stream, there = self.network.waitFor(near), self.network.waitFor(far)
        self.assertEqual(stream.getPeer().peerID, BOB.peerID)
        self.assertEqual(there.getPeer().peerID, ALICE.peerID)
        self.attach(there, EchoFactory())
        recorder = self.attach(stream, RecorderFactory())
        stream.write(b"hole" * 5000)
        self.assertEqual(len(self.network.waitFor(recorder.whenReceived(20_000))), 20_000)
        stream.loseConnection()
        self.network.waitFor(recorder.lost)
        [connected] = [each for each in self.seen["alice"] if isinstance(each, Connected)]
        return connected

    def reasons(self, *opening: Deferred[Any]) -> list[BaseException]:
        """
        Why they failed.
        """
        failures: list[Failure] = []
        for each in opening:
            each.addErrback(failures.append)
        self.network.internet.advance(60.0)
        self.assertEqual(len(failures), len(opening))
        return [failure.value for failure in failures if failure.value is not None]


class MeetingTests(OutOfBandTestCase):
    """
    Two that want to meet.
    """

    def test_nats(self) -> None:
        """
        Through two NATs they get a stream, over TCP and over UDP.
        """
        for transports, expected in (
            ((), Transport.TCP),
            ((Transport.TCP,), Transport.TCP),
            ((Transport.UDP,), Transport.UDP),
        ):
            self.begin("port-restricted/port-restricted")
            connected = self.assertTalk(*self.both(options(*transports)))
            self.assertEqual((connected.path, connected.transport), ("direct", expected))
            self.doCleanups()

    def test_symmetric(self) -> None:
        """
        So they do where one NAT maps by destination: what its second port shows is told, too.
        """
        self.begin("symmetric-random/address-restricted")
        self.assertTalk(*self.both())

    def test_sequential(self) -> None:
        """
        One side may want the sequential flow; then "ready" goes over the channel.
        """
        self.begin("port-restricted/port-restricted")
        flow = TCPFlow.SEQUENTIAL
        near = self.open(ALICE, asked=options(Transport.TCP))
        far = self.open(BOB, asked=options(Transport.TCP, tcpFlow=flow))
        self.assertTalk(near, far)
        kinds = [
            each.kind for seen in self.seen.values() for each in seen if isinstance(each, Signalled)
        ]
        self.assertIn("ready", kinds)

    def test_slowly(self) -> None:
        """
        One description each is enough, and minutes may lie between: a person carries them.
        """
        channel = self.begin("port-restricted/port-restricted")
        lines: dict[str, str] = {}

        def keep(line: str) -> None:
            lines.setdefault(json.loads(line)["from"], line)

        channel.alter = keep
        asked = options(Transport.UDP, timeout=300.0)
        near = self.open(ALICE, asked=asked)
        self.network.internet.advance(100.0)
        far = self.open(BOB, asked=asked)
        self.network.internet.advance(5.0)
        channel.ends[BOB.peerID].received(lines[ALICE.peerID.text])
        self.network.internet.advance(90.0)
        channel.ends[ALICE.peerID].received(lines[BOB.peerID.text])
        self.assertTalk(near, far)

    def test_outOfDate(self) -> None:
        """
        What an earlier run has left in the channel does no harm, and neither do repetitions.
        """
        channel = self.begin("port-restricted/port-restricted")
        for each in self.both():
            self.network.internet.advance(0.3)
            each.addErrback(lambda failure: None).cancel()
        self.network.internet.advance(5.0)
        left = list(channel.said)
        self.assertEqual(len(left), 4)
        near, far = self.both()
        self.network.internet.advance(1.0)
        for line in left + left:
            channel.arrive(line)
        self.assertTalk(near, far)

    def test_sameNetwork(self) -> None:
        """
        In one network, no STUN server is needed.
        """
        self.begin("port-restricted")
        near, far = self.open(ALICE, stun=()), self.open(BOB, stun=())
        self.assertEqual(self.assertTalk(near, far).candidate, "host")

    def test_silentServers(self) -> None:
        """
        Servers that do not answer are waited for two seconds, and no longer.
        """
        self.begin("port-restricted")
        silent = ["5.1.0.1:9", "5.2.0.1:9"]
        near, far = self.open(ALICE, stun=silent), self.open(BOB, stun=silent)
        self.network.internet.advance(1.9)
        self.assertEqual(self.channel.said, [])
        self.network.internet.advance(0.2)
        self.assertEqual(len(self.channel.said), 2)
        self.assertTalk(near, far)

    def test_noWay(self) -> None:
        """
        Where there is no way, both are told.
        """
        self.begin("symmetric-random/symmetric-random")
        for reason in self.reasons(*self.both(options(Transport.TCP, timeout=10.0))):
            self.assertIsInstance(reason, NoPathFound)

    def test_nothingInCommon(self) -> None:
        """
        Without a common transport, there is no need to try.
        """
        self.begin("full-cone/full-cone")
        near = self.open(ALICE, asked=options(Transport.TCP))
        far = self.open(BOB, asked=options(Transport.UDP))
        for reason in self.reasons(near, far):
            self.assertIsInstance(reason, SessionError)

    def test_cancelled(self) -> None:
        """
        It can be cancelled at any moment, and leaves nothing; the other side hears of it.
        """
        for seconds in (0.0, 0.05, 0.15, 0.6, 0.8, 1.0):
            self.begin("port-restricted/port-restricted")
            near, far = self.both()
            for each in (near, far):
                each.addErrback(lambda failure: None)
            self.network.internet.advance(seconds)
            near.cancel()
            self.network.internet.advance(10.0)
            hasSpoken = any(f'"from":"{ALICE.peerID}"' in line for line in self.channel.said)
            self.assertEqual(far.called, hasSpoken, seconds)
            far.cancel()
            self.network.internet.advance(10.0)
            self.doCleanups()

    def test_mistakes(self) -> None:
        """
        What makes no sense is said at once; servers without an address are named.
        """
        self.begin("full-cone/full-cone")
        self.assertRaises(BadAddress, self.open, ALICE, stun=["a:b:c"])
        self.assertRaises(PeerIsSelf, self.open, ALICE, ALICE.peerID)
        [reason] = self.reasons(self.open(ALICE, stun=["\xe4" * 70]))
        self.assertIsInstance(reason, UnknownHost)


class HostileChannelTests(OutOfBandTestCase):
    """
    Somebody reads, and alters, what goes over the channel.
    """

    def alterCandidates(self, change: Callable[[dict[str, Any]], None]) -> None:
        def alter(line: str) -> str:
            fields = json.loads(line)
            if fields["kind"] == "description" or "candidates" in fields:
                change(fields)
            return json.dumps(fields)

        self.channel.alter = alter

    def test_inTheMiddle(self) -> None:
        """
        Who puts his own description in the place of the other side's proves another key, and gets
        no connection, with whichever role.
        """
        for victim, friend in ((ALICE, BOB), (BOB, ALICE)):
            for transport in Transport:
                self.begin("full-cone/full-cone")
                self.channel.alter = lambda line: None
                asked = options(transport, timeout=10.0)
                opening = self.open(victim, asked=asked)
                self.network.internet.advance(3.0)
                eve = self.openAsEve(victim, friend, asked)
                # As TLS client she may believe for a moment that she got through.
                eve.addCallbacks(
                    lambda stream: self.attach(stream, RecorderFactory()), lambda failure: None
                )
                self.assertIsInstance(self.reasons(opening)[0], WrongPeer)
                seen = self.seen[HOSTS[victim.peerID]]
                self.assertNotIn(Connected, [type(each) for each in seen])
                self.doCleanups()

    def openAsEve(
        self, victim: Identity, friend: Identity, asked: SessionOptions
    ) -> Deferred[SecureStream | QUICStream]:
        """
        Eve knows all that the victim said, and answers as the friend, with a key of her own.
        """
        isControlling = friend.peerID.text < victim.peerID.text
        eve = Identity.generate()
        while (eve.peerID.text < victim.peerID.text) is not isControlling:
            eve = Identity.generate()
        signalling = TextSignalling(
            friend.peerID, victim.peerID, self.channel.ends[victim.peerID].received
        )
        for line in self.channel.said:
            signalling.received(line)
        # What the victim says later, she is told as well.
        self.channel.alter = lambda line: signalling.received(line)
        host = self.network.internet.host(HOSTS[friend.peerID])
        reactor: Any = host.reactor
        return openStreamOver(
            reactor,
            eve,
            victim.peerID,
            signalling,
            stun=[f"{self.stunHosts[0]}:3478"],
            options=asked,
            hostAddresses=FixedHostAddresses(host.addresses),
        )

    def test_manyAddresses(self) -> None:
        """
        A description makes a peer try sixteen addresses, in three descriptions at most, and at a
        bounded pace.
        """
        self.begin("full-cone/full-cone")
        victims = [
            f"1 1 udp 2130706431 31.{number >> 8}.{number & 255}.7 9 typ host"
            for number in range(1, 200)
        ]

        def aim(fields: dict[str, Any]) -> None:
            fields["candidates"] = victims

        self.alterCandidates(aim)
        near, far = self.both(options(Transport.UDP, timeout=20.0))
        self.network.internet.advance(3.0)
        line = json.loads(
            self.channel.said[0 if ALICE.peerID.text in self.channel.said[0][:90] else 1]
        )
        for number in range(20):
            forged = {**line, "from": BOB.peerID.text, "to": ALICE.peerID.text}
            self.channel.arrive(
                json.dumps({**forged, "session": f"abcd{number}", "candidates": victims})
            )
        for _ in range(50):
            self.channel.arrive(
                json.dumps(
                    {**forged, "kind": "candidates", "session": "abcd1", "candidates": victims[50:]}
                )
            )
        self.reasons(near, far)
        pairs = [
            each.event
            for each in self.seen["alice"]
            if isinstance(each, Punched) and each.event.kind is EventKind.PAIR_FORMED
        ]
        self.assertLessEqual(len(pairs), 3 * 16 * 2)
        self.assertGreaterEqual(len(pairs), 16)

    def test_altered(self) -> None:
        """
        Whatever else is altered ends in one sentence for both sides.
        """
        changes: list[Callable[[dict[str, Any]], None]] = [
            lambda fields: fields.update(password="A" * 24),
            lambda fields: fields.update(session="AAAABBBB"),
            lambda fields: fields.update(transports=[]),
            lambda fields: fields.update(candidates=[]),
        ]
        for change in changes:
            self.begin("port-restricted/port-restricted")
            self.alterCandidates(change)
            for reason in self.reasons(*self.both(options(timeout=10.0))):
                self.assertIsInstance(reason, SessionError)
            self.doCleanups()
