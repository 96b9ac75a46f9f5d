"""
Tests of L{holepunch.punch.checks} and L{holepunch.punch.sentchecks}.
"""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import MalformedMessage
from holepunch.punch import Credentials
from holepunch.punch.checks import Authenticator
from holepunch.punch.role import Role
from holepunch.punch.sentchecks import SentChecks
from holepunch.stun import AttributeType, decode
from tests.punch.station import ALICE, BOB
from tests.punch.test_pair import pair
from tests.punch.wire import address


def authenticator(
    local: Credentials, remote: Credentials | None, isControlling: bool = True
) -> Authenticator:
    """
    One side's checks.
    """
    made = Authenticator(local, Role(isControlling, 77), random.Random(1).randbytes)
    if remote is not None:
        made.setRemote(remote)
    return made


class AuthenticatorTests(SynchronousTestCase):
    """
    What proves a check.
    """

    def setUp(self) -> None:
        """
        Make both sides.
        """
        self.alice = authenticator(ALICE, BOB)
        self.bob = authenticator(BOB, ALICE, False)
        self.local = pair().local

    def test_attributes(self) -> None:
        """
        A check has the attributes of RFC 8445 section 7.1, and USE-CANDIDATE only to nominate.
        """
        message = decode(self.alice.build(self.local).data)
        self.assertEqual(message.get(AttributeType.USERNAME), "bobb:alice")
        self.assertEqual(message.get(AttributeType.ICE_CONTROLLING), 77)
        self.assertEqual(message.get(AttributeType.PRIORITY) >> 24, 105)
        self.assertTrue(message.hasIntegrity and message.hasFingerprint)
        self.assertIsNone(message.get(AttributeType.USE_CANDIDATE))
        nominating = decode(self.alice.build(self.local, True).data)
        self.assertTrue(nominating.get(AttributeType.USE_CANDIDATE))

    def test_roundTrip(self) -> None:
        """
        The other side recognises the check, and its answer is recognised.
        """
        built = self.alice.build(self.local, True)
        check = self.bob.readRequest(decode(built.data))
        assert check is not None
        self.assertTrue(check.isNominating and check.isFromControlling)
        self.assertEqual((check.remoteUfrag, check.remoteTieBreaker), ("alice", 77))
        answer = decode(self.bob.buildSuccess(check, address("203.0.113.1:5")))
        self.assertTrue(self.alice.isAuthenticResponse(answer))
        self.assertFalse(self.bob.isAuthenticResponse(answer))
        self.assertEqual(answer.get(AttributeType.XOR_MAPPED_ADDRESS), address("203.0.113.1:5"))

    def test_strangers(self) -> None:
        """
        Checks with another password, another name, or of our own, are not recognised.
        """
        for local, remote in (
            (ALICE, Credentials("bobb", "x" * 22)),
            (ALICE, Credentials("bobby", BOB.password)),
            (Credentials("alicia", ALICE.password), BOB),
            (BOB, ALICE),
        ):
            built = authenticator(local, remote).build(self.local)
            self.assertIsNone(self.bob.readRequest(decode(built.data)))

    def test_early(self) -> None:
        """
        Before the remote credentials are known, the own password is proof enough for a request, and
        no response is authentic.
        """
        early = authenticator(BOB, None)
        check = early.readRequest(decode(self.alice.build(self.local).data))
        assert check is not None
        self.assertEqual(check.remoteUfrag, "alice")
        answer = decode(self.alice.buildSuccess(check, address("203.0.113.1:5")))
        self.assertFalse(early.isAuthenticResponse(answer))

    @given(st.data())
    def test_tampered(self, data: st.DataObject) -> None:
        """
        A check of which any byte changed on the way is not recognised.
        """
        check = bytearray(self.alice.build(self.local).data)
        check[data.draw(st.integers(0, len(check) - 9))] ^= data.draw(st.integers(1, 255))
        try:
            message = decode(bytes(check[:-8]))
        except MalformedMessage:
            return
        self.assertIsNone(self.bob.readRequest(message))


class SentChecksTests(SynchronousTestCase):
    """
    Checks that wait for their answer.
    """

    def setUp(self) -> None:
        """
        Send one check, and make the other side.
        """
        self.alice = authenticator(ALICE, BOB)
        self.sent = SentChecks()
        self.pair = pair()
        self.built = self.alice.build(self.pair.local)
        self.sent.add(self.pair, self.built, 0.25, 10.0)

    def timesUntilExpiry(self) -> list[float]:
        """
        When the check is sent again, and at last given up.
        """
        times = []
        while (at := self.sent.nextTimeout()) is not None:
            times += [at - 10.0 for _ in self.sent.due(at)]
        return times

    def test_schedule(self) -> None:
        """
        A check leaves four times, with doubled distances, and is given up after eleven RTOs.
        """
        self.assertEqual(self.timesUntilExpiry(), [0.25, 0.75, 1.75, 2.75])

    def test_superseded(self) -> None:
        """
        A superseded check is not sent again, and its answer counts until it would have expired.
        """
        self.sent.supersede(self.pair)
        self.assertEqual(self.sent.due(12.7), [])
        bob = authenticator(BOB, ALICE, False)
        check = bob.readRequest(decode(self.built.data))
        assert check is not None
        answer = decode(bob.buildSuccess(check, address("203.0.113.1:5")))
        taken = self.sent.take(answer)
        assert taken is not None
        self.assertIs(taken.pair, self.pair)
        self.assertIsNone(self.sent.take(answer))
        self.assertIsNone(self.sent.nextTimeout())

    def test_selected(self) -> None:
        """
        Of the checks under way, only the nominating one of the selected pair goes on.
        """
        nominating = self.alice.build(self.pair.local, True)
        self.sent.add(self.pair, nominating, 0.25, 10.0)
        self.sent.forgetOthers(self.pair)
        ((kept, data),) = self.sent.due(10.25)
        self.assertIs(kept.built, nominating)
        self.assertEqual(data, nominating.data)
        self.sent.forgetOthers(None)
        self.assertIsNone(self.sent.nextTimeout())
