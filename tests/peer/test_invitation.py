"""
Tests for L{holepunch.peer.invitation}: two peers, a service, and people who type codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from holepunch.errors import (
    BadInvitation,
    BadName,
    InvitationFailed,
    KnownAlready,
    TooManyRequests,
)
from holepunch.identity import Identity
from holepunch.peer import KnownPeers, Peer
from holepunch.peer.invitation import Acquaintance
from holepunch.peer.knownpeers import INVITED
from holepunch.rendezvous import MainConnection, ServiceLocation, connectRendezvous
from holepunch.rendezvous.invitation import (
    WRONG_CODE,
    Greeting,
    InvitationCode,
    InvitationExchange,
)
from holepunch.rendezvous.mailboxclient import Mailbox
from tests.peer.test_scenarios import ScenarioTestCase
from tests.rendezvous.network import Recorder as Events


class InvitationTestCase(ScenarioTestCase):
    """
    Alice invites, bob accepts.
    """

    def begin(self, **names: str | None) -> None:
        self.network = self.build("port-restricted/port-restricted")
        self.alice = self.network.peer("alice", names.get("alice", "alice"))
        self.bob = self.network.peer("bob", names.get("bob", "bob"))
        for peer in (self.alice, self.bob):
            self.network.waitFor(peer.whenRegistered())
        self.codes: list[str] = []

    def invite(self, peer: Peer | None = None, **options: Any) -> Deferred[Acquaintance]:
        def tell(code: InvitationCode, seconds: float) -> None:
            self.assertEqual(seconds, 600.0)
            self.codes.append(str(code))

        inviting = (peer or self.alice).invite(tell, **options)
        self.network.internet.advance(1.0)
        return inviting

    def enter(self) -> Mailbox:
        """
        Enter the mailbox as somebody who says what a test likes.
        """
        host = self.network.internet.host("bob")
        location = ServiceLocation.parse(self.network.location)
        self.client = self.network.waitFor(
            connectRendezvous(host.reactor, location, Identity.generate(), Events())
        )
        self.addCleanup(self.client.goodbye)
        self.network.waitFor(self.client.register())
        return self.network.waitFor(self.client.enterMailbox(int(self.codes[0].split("-")[0])))

    def wrong(self) -> str:
        """
        The latest code, with another word.
        """
        number, word, other = self.codes[-1].split("-")
        return f"{number}-{word}-{'zebra' if other != 'zebra' else 'acorn'}"

    def failed(self, deferred: Deferred[Any]) -> str:
        settled: list[Any] = []
        deferred.addBoth(settled.append)
        self.network.internet.advance(40.0)
        assert isinstance(settled[0], Failure)
        settled[0].trap(InvitationFailed, TooManyRequests, KnownAlready)
        return settled[0].getErrorMessage()


class InvitationTests(InvitationTestCase):
    """
    Invitations that come to something, and those that do not.
    """

    def test_known(self) -> None:
        """
        Afterwards each side knows the other's key, by the name that the other one suggested.
        """
        self.begin()
        inviting = self.invite()
        self.assertRegex(self.codes[0], r"^[1-9]\d*-[a-z]+-[a-z]+$")
        accepting = self.bob.acceptInvitation(self.codes[0].upper().replace("-", " "))
        invited = self.network.waitFor(inviting)
        accepted = self.network.waitFor(accepting)
        self.assertEqual((invited.peer.name, invited.peer.peerID), ("bob", self.bob.peerID))
        self.assertEqual((accepted.peer.name, accepted.peer.peerID), ("alice", self.alice.peerID))
        self.assertTrue(invited.isConnecting and accepted.isConnecting)
        for peer, name in ((self.alice, "bob"), (self.bob, "alice")):
            self.assertEqual(peer.knownPeers.find(name).origin, INVITED)
        self.network.internet.advance(1.0)
        self.assertEqual(len(self.network.service.exchange.mailboxes), 0)

    def test_names(self) -> None:
        """
        A side may choose what the other one is called; without any name there is one all the same.
        """
        self.begin(alice=None, bob=None)
        inviting = self.invite(calledHere="brother", calledThere="sister", isConnecting=False)
        accepted = self.network.waitFor(self.bob.acceptInvitation(self.codes[0]))
        self.assertEqual(self.network.waitFor(inviting).peer.name, "brother")
        self.assertEqual((accepted.peer.name, accepted.isConnecting), ("sister", False))
        again = self.invite(self.bob)
        accepted = self.network.waitFor(self.alice.acceptInvitation(self.codes[1]))
        self.assertEqual(self.network.waitFor(again).peer.name, "sister")
        self.assertEqual(accepted.peer.name, "brother")

    def test_takenName(self) -> None:
        """
        A suggestion takes no name away from a peer that has it.
        """
        self.begin()
        other = Identity.generate().peerID
        self.alice.knownPeers.pin("bob", other, INVITED)
        inviting = self.invite()
        self.network.waitFor(self.bob.acceptInvitation(self.codes[0]))
        name = self.network.waitFor(inviting).peer.name
        self.assertEqual(name, f"bob-{self.bob.peerID.short}")
        self.assertEqual(self.alice.knownPeers.find("bob").peerID, other)
        self.assertIn("known already", self.failed(self.invite(calledHere="bob")))
        self.assertRaises(BadName, self.alice.invite, print, calledThere="a b")

    def test_wrongCode(self) -> None:
        """
        A wrong code ends it on both sides with one sentence, and nobody has another guess.
        """
        self.begin()
        inviting = self.invite()
        accepting = self.bob.acceptInvitation(self.wrong())
        self.assertEqual(self.failed(accepting), WRONG_CODE)
        self.assertEqual(self.failed(inviting), WRONG_CODE)
        again = self.bob.acceptInvitation(self.codes[0])
        self.assertIn("no such invitation", self.failed(again))
        self.assertEqual((self.alice.knownPeers.peers(), self.bob.knownPeers.peers()), ((), ()))

    def test_wrongCodeAndGone(self) -> None:
        """
        The inviting side learns of a wrong code also when the other program ends with it.
        """
        self.begin()
        inviting = self.invite()
        accepting = self.bob.acceptInvitation(self.wrong())
        accepting.addErrback(lambda failure: self.bob.stopService())
        self.assertEqual(self.failed(inviting), WRONG_CODE)

    def test_misspelt(self) -> None:
        """
        What is no code wastes no guess.
        """
        self.begin()
        inviting = self.invite()
        number = self.codes[0].split("-")[0]
        for text in (
            "",
            "crossword",
            f"{number}-crosswort-atlas",
            f"{number}-atlas",
            "0-atlas-opal",
        ):
            self.assertRaises(BadInvitation, self.bob.acceptInvitation, text)
        self.network.waitFor(self.bob.acceptInvitation(self.codes[0]))
        self.network.waitFor(inviting)

    def test_expired(self) -> None:
        """
        After ten minutes a code is good for nothing, and its maker is told.
        """
        self.begin()
        inviting = self.invite()
        self.network.internet.advance(601.0)
        self.assertIn("within 10 minutes", self.failed(inviting))
        self.assertIn("no such", self.failed(self.bob.acceptInvitation(self.codes[0])))

    def test_cancelled(self) -> None:
        """
        Who gives an invitation up makes its code void.
        """
        self.begin()
        inviting = self.invite()
        inviting.cancel()
        self.failureResultOf(inviting, CancelledError)
        self.network.internet.advance(1.0)
        self.assertIn("no such", self.failed(self.bob.acceptInvitation(self.codes[0])))

    def test_ownCode(self) -> None:
        """
        Nobody accepts an invitation of his own.
        """
        self.begin()
        inviting = self.invite()
        self.assertIn("no such", self.failed(self.alice.acceptInvitation(self.codes[0])))
        inviting.cancel()
        self.failureResultOf(inviting, CancelledError)

    def test_silence(self) -> None:
        """
        When the other side says no more, that is told after half a minute.
        """
        self.begin()
        inviting = self.invite()
        mailbox = self.enter()
        code = InvitationCode.parse(self.codes[0])
        mailbox.post(InvitationExchange(code, False, bytesOf).half)
        self.assertIn("did not answer for 30 seconds", self.failed(inviting))

    def test_vanished(self) -> None:
        """
        When the other side goes away in the middle, that is told at once.
        """
        self.begin()
        inviting = self.invite()
        self.enter()
        self.client.goodbye()
        self.assertIn("has gone", self.failed(inviting))

    def test_garbage(self) -> None:
        """
        What makes no sense makes an invitation void, as a wrong code does.
        """
        point = InvitationExchange(InvitationCode(1, ("opal", "atlas")), True, bytesOf).half
        for body in (b"", b"B" * 33, b"A" + bytes(32), point, bytes(700), b"B" + bytes(32)):
            self.begin()
            inviting = self.invite()
            mailbox = self.enter()
            mailbox.post(body)
            self.assertIn("makes no sense", self.failed(inviting))
            self.doCleanups()

    def test_speed(self) -> None:
        """
        Who tries codes one after the other is soon told to wait.
        """
        self.begin()
        texts: list[str] = []
        for number in range(1, 31):
            trying = self.bob.acceptInvitation(f"{number}-atlas-opal")
            trying.addErrback(lambda failure: texts.append(failure.getErrorMessage()))
        self.network.internet.advance(1.0)
        tooMany = [text for text in texts if "too many invitation codes" in text]
        self.assertEqual((len(texts), len(tooMany)), (30, 20))
        self.assertRegex(tooMany[0], r"try again in \d+ seconds")


def bytesOf(size: int) -> bytes:
    return bytes(range(size))


class Altering:
    """
    Alters one of the things that are said.
    """

    def __init__(self, position: int) -> None:
        self._left = position

    def __call__(self, body: bytes) -> bytes:
        self._left -= 1
        return body if self._left != -1 else body[:-1] + bytes([body[-1] ^ 1])


class HostileServiceTests(InvitationTestCase):
    """
    A service that takes part in what it passes on.
    """

    def listenIn(self, change: Callable[[bytes], bytes]) -> list[bytes]:
        """
        Let the service change what is said.
        """
        heard: list[bytes] = []

        class Listening(MainConnection):
            def passPost(self, nameplate: int, body: bytes) -> None:
                heard.append(body)
                super().passPost(nameplate, change(body))

        self.network.service.factory.protocol = Listening
        return heard

    def start(self, change: Callable[[bytes], bytes]) -> list[bytes]:
        self.network = self.build("port-restricted/port-restricted")
        heard = self.listenIn(change)
        self.alice = self.network.peer("alice", "alice", knownPeers=KnownPeers())
        self.bob = self.network.peer("bob", "bob", knownPeers=KnownPeers())
        self.codes = []
        return heard

    def test_listening(self) -> None:
        """
        It sees neither the code nor who the two are going to be to each other.
        """
        heard = self.start(lambda body: body)
        inviting = self.invite()
        self.network.waitFor(self.bob.acceptInvitation(self.codes[0]))
        self.network.waitFor(inviting)
        said = b"".join(heard)
        self.assertEqual(len(heard[0]), 33)
        for secret in (*self.codes[0].split("-")[1:], "alice", "bob", str(self.bob.peerID)):
            self.assertNotIn(secret.encode(), said)

    def test_altering(self) -> None:
        """
        Whatever it changes, and wherever, nobody is pinned by it.
        """
        for position in range(3):
            self.start(Altering(position))
            settled: list[Any] = []
            self.invite().addBoth(settled.append)
            self.bob.acceptInvitation(self.codes[0]).addBoth(settled.append)
            self.network.internet.advance(40.0)
            self.assertEqual(len(settled), 2)
            # Whoever has heard the true greeting before knows the true peer.
            invited = {each.peerID for each in self.alice.knownPeers.peers()}
            accepted = {each.peerID for each in self.bob.knownPeers.peers()}
            self.assertEqual(invited, set())
            self.assertLessEqual(accepted, {self.alice.peerID})
            self.doCleanups()

    def test_between(self) -> None:
        """
        Put between the two, with a guess at the code, it is found out by both.
        """
        guess = InvitationCode(1, ("opal", "atlas"))
        eve = Identity.generate().peerID
        toAlice = InvitationExchange(guess, False, bytesOf)
        toBob = InvitationExchange(guess, True, bytesOf)

        def change(body: bytes) -> bytes:
            if len(body) == 33:
                toBob.receiveHalf(body)
                return toAlice.half
            return toBob.half + toBob.seal(Greeting(peerID=eve, name="alice"))

        self.start(change)
        inviting = self.invite()
        accepting = self.bob.acceptInvitation(self.codes[0])
        self.assertEqual(self.failed(accepting), WRONG_CODE)
        self.assertTrue(re.search("void|gone|sense", self.failed(inviting)))
        self.assertEqual((self.alice.knownPeers.peers(), self.bob.knownPeers.peers()), ((), ()))
