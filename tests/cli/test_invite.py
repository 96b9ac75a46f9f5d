"""
C{holepunch invite} and C{holepunch accept}, on simulated networks.
"""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner
from twisted.internet.defer import Deferred

from holepunch.cli.answering import Echo
from holepunch.cli.invite import Names, acceptAndConnect, serveInvited
from holepunch.cli.listen import TakingFactory
from holepunch.cli.main import main
from holepunch.cli.options import PeerOptions
from holepunch.cli.waiting import Patience
from holepunch.errors import InvitationFailed, SessionRefused, UsageError
from holepunch.identity import Identity, PeerID
from holepunch.peer import Ask, KnownPeers, Peer, SessionOptions
from holepunch.rendezvous.invitation import InvitationCode
from tests.cli.network import CommandTestCase, Told
from tests.cli.test_listen import Talker


class InviteTests(CommandTestCase):
    """
    Bob invites, alice accepts.
    """

    def invite(self, told: Told, options: PeerOptions, isConnecting: bool = True) -> Deferred[Any]:
        factory = TakingFactory(Echo, told, isSingle=True)
        admitted: set[PeerID] = set()
        reactor = self.network.internet.host("bob").reactor
        inviting = self.start(
            "bob",
            lambda peer: serveInvited(
                reactor, peer, Names(there="bob"), isConnecting, factory, admitted, 10.0, told
            ),
            told,
            options=options,
            authoriser=Ask(lambda request: request.remote in admitted),
        )
        self.network.internet.advance(2.0)
        return inviting

    def accept(self, told: Told, code: str, talker: Talker, options: PeerOptions) -> Deferred[Any]:
        reactor: Any = self.network.internet.host("alice").reactor
        return self.start(
            "alice",
            lambda peer: acceptAndConnect(
                peer,
                InvitationCode.parse(code),
                Names(there="alice"),
                True,
                SessionOptions(timeout=10.0),
                talker,
                Patience.of(reactor, told, None, 10.0),
            ),
            told,
            options=options,
        )

    def test_connected(self) -> None:
        """
        When the code is accepted, the two are connected, and known to each other from then on.
        """
        self.build()
        bob, alice, talker = Told(), Told(), Talker(b"hello")
        bobs, alices = self.options(), self.options()
        inviting = self.invite(bob, bobs)
        told = bob.named("invitation")
        self.assertEqual(told["seconds"], 600.0)
        self.network.waitFor(self.accept(alice, told["code"], talker, alices))
        self.network.waitFor(inviting)
        self.assertEqual(talker.heard, b"hello")
        self.assertEqual(alice.named("known")["name"], "bob")
        self.assertEqual(bob.named("known")["peer"], self.identityOf(alices))
        [known] = bobs.knownPeers.peers()
        self.assertEqual((known.name, str(known.peerID)), ("alice", self.identityOf(alices)))
        [known] = alices.knownPeers.peers()
        self.assertEqual((known.name, str(known.peerID)), ("bob", self.identityOf(bobs)))

    def test_onlyKnown(self) -> None:
        """
        With C{--no-connect} on either side, both commands end when the two are known.
        """
        self.build()
        bob, alice, talker = Told(), Told(), Talker(b"hello")
        inviting = self.invite(bob, self.options(), isConnecting=False)
        code = bob.named("invitation")["code"]
        self.network.waitFor(self.accept(alice, code, talker, self.options()))
        self.network.waitFor(inviting)
        self.assertEqual(talker.heard, b"")

    def test_nobodyElse(self) -> None:
        """
        Who does not have the code gets no connection meanwhile.
        """
        self.build()
        bob, bobs = Told(), self.options()
        inviting = self.invite(bob, bobs)

        async def use(peer: Peer) -> Any:
            session = SessionOptions(timeout=5.0)
            return await peer.openStream(self.identityOf(bobs), session)

        with self.assertRaises(SessionRefused):
            self.network.waitFor(self.start("alice", use, Told()))
        inviting.cancel()
        self.network.internet.advance(3.0)
        inviting.addErrback(lambda failure: None)

    def test_notConnecting(self) -> None:
        """
        When the other side does not connect after all, that is said.
        """
        self.build()
        bob = Told()
        inviting = self.invite(bob, self.options())
        code = bob.named("invitation")["code"]

        async def use(peer: Peer) -> None:
            await peer.acceptInvitation(code)

        self.network.waitFor(self.start("alice", use, Told()))
        with self.assertRaisesRegex(InvitationFailed, "did not connect within 10 seconds"):
            self.network.waitFor(inviting)

    def test_mistakes(self) -> None:
        """
        A misspelt code and a name that is taken are wrong usage, before anything is sent.
        """
        known = KnownPeers()
        known.pin("bob", Identity.generate().peerID)
        self.assertRaises(UsageError, Names(here="Bob").check, known)
        Names(here="carol").check(known)
        arguments = ["--rendezvous", "x", "--identity", self.mktemp()]
        for words in (["7-crosword-atlas"], ["7"], ["a", "b", "c"]):
            ran = CliRunner().invoke(main, ["accept", *words, *arguments])
            self.assertEqual(ran.exit_code, 2, ran.output)
        self.assertEqual(CliRunner().invoke(main, ["accept", *arguments]).exit_code, 2)
