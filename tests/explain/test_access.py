"""
Who may connect, log in, or accept an invitation: refusals, injected and named.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from holepunch.explain import Cause
from holepunch.identity import Identity
from holepunch.peer import AccessList, Peer, SessionOptions
from holepunch.peer.knownpeers import KnownPeers
from holepunch.rendezvous import Authority, LoginCredentials, PasswordFile
from holepunch.rendezvous.scram import StoredPassword
from tests.cli.network import Told
from tests.explain.stage import CONES, TCP, CauseTestCase
from tests.peer.network import EchoFactory
from tests.rendezvous.test_scram import CHEAP


class ListenerTests(CauseTestCase):
    """
    The listening side says no.
    """

    def listenOnlyTo(self, allowed: tuple[str, ...]) -> None:
        """
        Let bob listen, as C{holepunch listen --allow} does.
        """

        async def use(peer: Peer) -> None:
            await peer.listenEndpoint().listen(EchoFactory())
            await Deferred()

        self.command("bob", use, "bob", authoriser=AccessList(KnownPeers(), allowed))
        self.network.internet.advance(1.0)

    def test_notAllowed(self) -> None:
        """
        A peer that is not on the other one's list is told so, with the ID to be allowed, and the
        other side's trace shows who it was.
        """
        network = self.stage(CONES)
        self.listenOnlyTo((str(Identity.generate().peerID),))
        self.ping(TCP)
        network.internet.advance(10.0)
        self.assertFromAnySide(Cause.NOT_LET_IN, ("bob did not let alice in",))
        self.assertCause(Cause.NOT_LET_IN, "alice", words=("bob did not let alice in",))
        alone = self.assertCause(Cause.NOT_LET_IN, "bob", words=("bob did not let alice in",))
        self.assertEqual(alone.title, "alice asks for bob")
        [alice] = self.traces("alice")
        self.assertIn(str(alice.peer), alone.evidence[0].text)

    def test_authoriserFails(self) -> None:
        """
        A listener that cannot decide lets nobody in, which is not the peer's doing.
        """
        network = self.stage(CONES)

        class Broken:
            isOpen = False

            def authorise(self, request: Any) -> bool:
                raise RuntimeError("no list")

        async def use(peer: Peer) -> None:
            await peer.listenEndpoint().listen(EchoFactory())
            await Deferred()

        self.command("bob", use, "bob", authoriser=Broken())
        network.internet.advance(1.0)
        self.ping(TCP)
        network.internet.advance(10.0)
        self.assertFromAnySide(Cause.PEER_REFUSED)
        self.assertCause(Cause.PEER_REFUSED, "bob", words=("did not let alice in",))
        self.flushLoggedErrors(RuntimeError)


class KeyTests(CauseTestCase):
    """
    A name means a key.
    """

    def test_changed(self) -> None:
        """
        Another key than the known one behind a name is a cause of its own.
        """
        network = self.stage(CONES)
        self.listen()
        options = self.options(trace=self.files / "alice.trace")
        options.knownPeers.pin("bob", Identity.generate().peerID, "imported")

        async def use(peer: Peer) -> None:
            await peer.openPingPath("bob", SessionOptions())

        running = self.start("alice", use, Told(), name="alice", options=options)
        self.commands["alice"] = running
        network.internet.advance(10.0)
        self.assertFromAnySide(Cause.PEER_KEY_CHANGED, ("bob",))
        self.assertCause(Cause.PEER_KEY_CHANGED, "alice")


class LoginTests(CauseTestCase):
    """
    A service with users.
    """

    def lock(self) -> None:
        """
        Let nobody in but alice, by her password.
        """
        network = self.stage(CONES)
        users = PasswordFile(self.mktemp())
        users.setPassword("alice", StoredPassword.make("secret", lambda size: bytes(size), CHEAP))
        authority = Authority(object(), [users], network.serviceIdentity, cost=CHEAP)
        network.service.exchange.authority = authority

    def test_refused(self) -> None:
        """
        A wrong password, and none at all, are refused logins.
        """
        for credentials in (LoginCredentials("alice", "wrong"), None):
            self.lock()
            self.ping(TCP, credentials=credentials)
            self.network.internet.advance(20.0)
            self.assertCause(Cause.LOGIN_REFUSED, "alice")


class InvitationTests(CauseTestCase):
    """
    A short code.
    """

    def test_wrongCode(self) -> None:
        """
        A wrong code is named on either side.
        """
        network = self.stage(CONES)
        codes: list[Any] = []

        async def invite(peer: Peer) -> None:
            await peer.invite(lambda code, seconds: codes.append(code))

        async def accept(peer: Peer) -> None:
            number = str(codes[0]).partition("-")[0]
            await peer.acceptInvitation(f"{number}-animal-ankle")

        self.command("bob", invite, "bob")
        network.internet.advance(2.0)
        self.command("alice", accept, "alice")
        network.internet.advance(20.0)
        self.assertCause(Cause.INVITATION_FAILED, "alice")
        self.assertCause(Cause.INVITATION_FAILED, "bob")
