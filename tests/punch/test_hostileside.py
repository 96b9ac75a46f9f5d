"""
The other side knows the session's credentials: what it can do with them, and no more.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.punch import (
    CandidateType,
    CloseConnection,
    Credentials,
    Effect,
    PunchSession,
    SendDatagram,
    SendStream,
    SessionConfig,
)
from holepunch.punch.checks import Authenticator
from holepunch.punch.priority import gatheredCandidate
from holepunch.punch.role import Role
from holepunch.stun import decode, frameRfc4571
from tests.punch.wire import address

OURS, THEIRS = Credentials("ours", "a" * 22), Credentials("theirs", "b" * 22)
BASES = {Transport.UDP: address("10.0.0.2:5000"), Transport.TCP: address("10.0.0.2:6000")}


class HostileSideTests(SynchronousTestCase):
    """
    One session, and a puppet as the other side.
    """

    def setUp(self) -> None:
        """
        Begin a session.
        """
        config = SessionConfig(
            isControlling=False,
            localCredentials=OURS,
            remoteCredentials=THEIRS,
            randomBytes=os.urandom,
        )
        self.session = PunchSession(config, 0.0)
        self.puppet = Authenticator(THEIRS, Role(True, 1), os.urandom)
        self.puppet.setRemote(OURS)
        self.own = {
            transport: gatheredCandidate(CandidateType.HOST, transport, base)
            for transport, base in BASES.items()
        }
        for candidate in self.own.values():
            self.session.addLocalCandidate(candidate, 0.0)
        self.session.takeEffects()

    def check(self, transport: Transport) -> bytes:
        return self.puppet.build(self.own[transport]).data

    def test_checksWithoutEnd(self) -> None:
        """
        A connection that carries nothing but checks is closed before its answers pile up.
        """
        connection = self.session.connectionAccepted(
            BASES[Transport.TCP], address("203.0.113.1:7"), 0.0
        )
        effects = []
        for _ in range(10_000):
            data = frameRfc4571(self.check(Transport.TCP))
            self.session.receiveStream(connection, data, 0.0)
            effects += self.session.takeEffects()
        sent = sum(len(each.data) for each in effects if isinstance(each, SendStream))
        self.assertLess(sent, 16_000)
        self.assertIn(CloseConnection(connection), effects)

    def test_sourcesWithoutEnd(self) -> None:
        """
        However many addresses valid checks come from, only so many are sent to.
        """
        answered: set[TransportAddress] = set()
        for number in range(10_000):
            source = TransportAddress(f"203.0.{number // 250}.{number % 250}", 7)
            data = self.check(Transport.UDP)
            self.session.receiveDatagram(BASES[Transport.UDP], source, data, number / 1000)
            for effect in self.session.takeEffects():
                if isinstance(effect, SendDatagram):
                    answered.add(effect.remote)
        self.assertLess(len(answered), 100)

    def test_spoofedSource(self) -> None:
        """
        An address that one check came from, and that never answers, is soon left in peace.
        """
        victim = address("203.0.113.1:7")
        data = self.check(Transport.UDP)
        self.session.receiveDatagram(BASES[Transport.UDP], victim, data, 0.0)
        sent = 0
        while (now := self.session.nextTimeout()) is not None and now < 30.0:
            self.session.handleTimeout(now)
            sent += sum(isinstance(each, SendDatagram) for each in self.session.takeEffects())
        self.assertLessEqual(sent, 5)

    def test_replayedNomination(self) -> None:
        """
        A nominating check that somebody overheard and sent first, from elsewhere, does not keep
        the nominated pair from being used.
        """
        peer, stranger = address("203.0.113.1:7"), address("203.0.113.2:7")
        base = BASES[Transport.UDP]
        check = self.puppet.build(self.own[Transport.UDP], True).data
        effects: list[Effect] = []
        for source in (stranger, peer):
            self.session.receiveDatagram(base, source, check, 0.1)
            effects += self.session.takeEffects()
        for effect in effects:
            if isinstance(effect, SendDatagram) and effect.remote == peer and not effect.isAnswer:
                received = self.puppet.readRequest(decode(effect.data))
                assert received is not None
                answer = self.puppet.buildSuccess(received, base)
                self.session.receiveDatagram(base, peer, answer, 0.2)
        assert self.session.selectedPath is not None
        self.assertEqual(self.session.selectedPath.remote, peer)
