"""
Strangers never become the path, and cost the session little.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.nat import NAMED_BEHAVIOURS
from holepunch.punch import (
    CloseConnection,
    DatagramReceived,
    Fate,
    PunchSession,
    SendDatagram,
    SendStream,
    StreamData,
)
from holepunch.stun import frameRfc4571
from tests.punch.decoy import Decoy, Trick
from tests.punch.station import (
    ANSWER,
    BOTH,
    HELLO,
    TCP,
    UDP,
    Observer,
    Station,
    configs,
    gather,
    introduce,
    isSettled,
    run,
)
from tests.punch.wire import Wire, address


def meetAmongStrangers(
    trick: Trick, transports: frozenset[Transport], isPossible: bool = True
) -> tuple[Station, Station, float]:
    """
    Two peers behind NATs, each with a stranger in its own network at the other's private address.

    @return: The peers, and how long it took until both had a path or none.
    """
    wire = Wire()
    observer = Observer(wire)
    kind = NAMED_BEHAVIOURS["port-restricted" if isPossible else "symmetric-random"]
    stations = []
    decoys = []
    for external, own, others in (
        ("203.0.113.1", "10.0.0.2", "10.0.0.3"),
        ("203.0.113.2", "10.0.0.3", "10.0.0.2"),
    ):
        network = wire.addNAT(kind, external)
        stations.append(Station(wire=wire, network=network, host=own, isStrict=False))
        decoys.append(
            Decoy(wire=wire, network=network, address=address(f"{others}:5000"), trick=trick)
        )
    alice, bob = stations
    gather(observer, stations)
    first, second = configs(wire, transports)
    startedAt = wire.now
    alice.start(first)
    bob.start(second)
    introduce(alice, bob, transports)
    decoys[0].attack(alice.base, "alice:bobb")
    decoys[1].attack(bob.base, "bobb:alice")
    run(wire, lambda: isSettled(alice, bob))
    settledAt = wire.now
    run(wire, lambda: False, 1.0)
    return alice, bob, settledAt - startedAt


class StrangerTests(SynchronousTestCase):
    """
    A stranger at the peer's private address.
    """

    def test_ignored(self) -> None:
        """
        Whatever the stranger answers, the peers meet, and only they.
        """
        for trick in Trick:
            for transports in (UDP, TCP, BOTH):
                alice, bob, seconds = meetAmongStrangers(trick, transports)
                assert alice.path is not None and bob.path is not None, (trick, transports)
                self.assertEqual(alice.path.remote.host, "203.0.113.2")
                self.assertEqual(bob.path.remote.host, "203.0.113.1")
                self.assertEqual((alice.heard, bob.heard), ([ANSWER], [HELLO]))
                self.assertEqual(alice.opened | bob.opened, set())
                self.assertLess(seconds, 0.3)

    def test_noPath(self) -> None:
        """
        Where there is no way to the peer, a stranger does not become one.
        """
        for trick in Trick:
            for transports in (UDP, TCP):
                alice, bob, _ = meetAmongStrangers(trick, transports, isPossible=False)
                for station in (alice, bob):
                    self.assertIsNone(station.path)
                    self.assertEqual(station.heard, [])
                    self.assertIsNotNone(station.failure)
                    self.assertEqual(station.opened, set())

    def test_fate(self) -> None:
        """
        The report says that a stranger was there.
        """
        alice, _, _ = meetAmongStrangers(Trick.WRONG_KEY, TCP, isPossible=False)
        assert alice.failure is not None
        self.assertIn(Fate.STRANGER.value, alice.failure.reason.fates[0])


class UnprovenTests(SynchronousTestCase):
    """
    What a connection or a datagram may cost before it proves anything.
    """

    def setUp(self) -> None:
        """
        Make a session with one candidate of each transport.
        """
        self.wire = Wire()
        self.station = Station(wire=self.wire, network=self.wire.public, host="203.0.113.1")
        config, _ = configs(self.wire, BOTH, maximalUnproven=4)
        self.session = PunchSession(config, 0.0)
        for candidate in self.station.candidates(BOTH):
            self.session.addLocalCandidate(candidate, 0.0)
        self.session.takeEffects()

    def outcome(self) -> list[type]:
        """
        The kinds of effects, traces left out.
        """
        kinds = (SendDatagram, SendStream, CloseConnection, StreamData, DatagramReceived)
        return [type(effect) for effect in self.session.takeEffects() if isinstance(effect, kinds)]

    def test_count(self) -> None:
        """
        Only so many connections may wait for their first valid check.
        """
        remotes = [address(f"198.51.100.{number}:5") for number in range(1, 7)]
        for remote in remotes:
            self.session.connectionAccepted(self.station.base, remote, 1.0)
        self.assertEqual(self.outcome(), [CloseConnection, CloseConnection])

    def test_time(self) -> None:
        """
        A connection that proves nothing is closed in time.
        """
        self.session.connectionAccepted(self.station.base, address("198.51.100.7:5"), 1.0)
        self.session.handleTimeout(10.9)
        self.assertEqual(self.outcome(), [])
        self.session.handleTimeout(11.0)
        self.assertEqual(self.outcome(), [CloseConnection])

    def test_bytes(self) -> None:
        """
        A connection that sends much, or no message, or never ends one, is closed unanswered.
        """
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            frameRfc4571(b"\x00" * 40),
            frameRfc4571(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)) * 200,
            b"\xff\xff",
        ):
            id = self.session.connectionAccepted(self.station.base, address("198.51.100.7:5"), 1.0)
            self.session.receiveStream(id, data, 1.0)
            self.assertEqual(self.outcome(), [CloseConnection])
            self.session.receiveStream(id, data, 1.0)
            self.session.connectionLost(id, 1.0)
            self.assertEqual(self.outcome(), [])

    def test_datagrams(self) -> None:
        """
        Datagrams that prove nothing are neither answered nor delivered.
        """
        for data in (b"", b"\x00", b"\x40data", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)):
            self.session.receiveDatagram(self.station.base, address("198.51.100.7:5"), data, 1.0)
        self.assertEqual(self.outcome(), [])
