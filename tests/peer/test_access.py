"""
Tests for L{holepunch.peer.access}, and for what it does to sessions in a whole network.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from holepunch.address import Transport
from holepunch.errors import (
    CannotRead,
    HolepunchError,
    PeerIdentityChanged,
    RendezvousError,
    SessionRefused,
    UnknownName,
    UnknownPeer,
)
from holepunch.identity import Identity
from holepunch.interfaces import IAuthoriser
from holepunch.peer import (
    AccessList,
    AccessRequest,
    Ask,
    Everyone,
    KnownPeer,
    KnownPeers,
    KnownPeersFile,
    Peer,
    SessionOptions,
)
from holepunch.peer.access import Access, Undecided
from holepunch.peer.events import Introduced, Mapped, Refused
from holepunch.peer.knownpeers import FIRST_USE
from holepunch.rendezvous.introduction import EndReason, SessionEnd
from holepunch.rendezvous.server import MainConnection
from holepunch.rendezvous.switchboard import Introduce
from tests.peer.network import EchoFactory, Network, RecorderFactory
from tests.peer.test_scenarios import ScenarioTestCase

ALICE = Identity.generate()
BOB = Identity.generate()
EVE = Identity.generate()


def request(identity: Identity = ALICE) -> AccessRequest:
    return AccessRequest(remote=identity.peerID)


class AuthoriserTests(SynchronousTestCase):
    """
    The authorisers by themselves.
    """

    def setUp(self) -> None:
        self.known = KnownPeers([KnownPeer(name="alice", peerID=ALICE.peerID)])

    def test_interface(self) -> None:
        """
        All of them are authorisers; only those that let everybody in are open.
        """
        authorisers = (
            Everyone(),
            AccessList(self.known),
            AccessList(self.known, ["alice"]),
            AccessList(self.known, denied=["alice"]),
            Ask(lambda request: True),
        )
        for each in authorisers:
            self.assertTrue(verifyObject(IAuthoriser, each))
        self.assertEqual([each.isOpen for each in authorisers], [True, True, False, False, False])

    def test_lists(self) -> None:
        """
        Who is allowed gets in, who is denied does not, and to be denied counts for more.
        """
        alice, bob = ALICE.peerID.text, BOB.peerID.text
        for allowed, denied, expected in (
            (None, (), (True, True)),
            (["Alice"], (), (True, False)),
            ([alice, bob], (), (True, True)),
            (None, ["alice"], (False, True)),
            (["alice", bob], [bob], (True, False)),
            ([], (), (False, False)),
        ):
            access = AccessList(self.known, allowed, denied)
            decided = (access.authorise(request(ALICE)), access.authorise(request(BOB)))
            self.assertEqual(decided, expected)

    def test_unknownName(self) -> None:
        """
        A name that is not known is a mistake, at once; it is never skipped.
        """
        self.assertRaises(UnknownName, AccessList, self.known, ["carol"])
        self.assertRaises(UnknownName, AccessList, self.known, None, ["carol"])
        access = AccessList(self.known, None, ["alice"])
        self.known.remove("alice")
        self.assertRaises(UnknownName, access.authorise, request(BOB))

    def test_whatGoesWrong(self) -> None:
        """
        When an authoriser fails, or gives anything but yes, nobody is let in.
        """

        def broken(request: AccessRequest) -> bool:
            raise ZeroDivisionError

        def unreadable(request: AccessRequest) -> bool:
            raise CannotRead("the file is gone")

        answers: list[Any] = [broken, unreadable, lambda each: 1, lambda each: fail(ValueError())]
        for answer in answers:
            access = Access(self.known, Ask(answer))
            admitted = Deferred.fromCoroutine(access.admit(BOB.peerID, "bob"))
            text = str(self.failureResultOf(admitted, SessionRefused).value)
            self.assertNotIn("file", text)
        self.flushLoggedErrors(ZeroDivisionError, ValueError)

    def test_unwritable(self) -> None:
        """
        A connection is not refused because its key cannot be remembered.
        """
        file = KnownPeersFile(os.path.join("/proc", "known"))
        Access(file).proven("bob", BOB.peerID)
        self.assertIsNone(file.find("bob"))

    def test_meanwhile(self) -> None:
        """
        A name that has become known as another's, while its peer was being reached, is refused.
        """
        access = Access(self.known)
        self.assertRaises(PeerIdentityChanged, access.proven, "alice", BOB.peerID)

    def test_undecided(self) -> None:
        """
        What comes in while a session is decided on is kept, to a limit.
        """
        undecided = Undecided()
        undecided.mustBeWanted()
        candidates: list[Any] = [object()] * 300
        undecided.candidatesReceived(candidates)
        self.assertEqual(len(undecided.candidates), 256)
        undecided.end = SessionEnd(EndReason.CANCELLED)
        self.assertRaises(SessionRefused, undecided.mustBeWanted)


class AccessTestCase(ScenarioTestCase):
    """
    Bob listens, alice connects, and somebody decides.
    """

    def begin(self, authoriser: Any = None, name: str = "bob") -> Network:
        self.network = network = self.build("port-restricted/port-restricted")
        self.known = KnownPeers()
        self.bob = network.peer("bob", name, identity=BOB, authoriser=authoriser)
        self.alice = network.peer("alice", "alice", identity=ALICE, knownPeers=self.known)
        network.listen(self.bob, EchoFactory())
        network.waitFor(self.alice.whenRegistered())
        network.internet.advance(0.5)
        return network

    def ask(self, target: str = "bob", peer: Peer | None = None) -> Deferred[Any]:
        endpoint = (peer or self.alice).connectEndpoint(target, SessionOptions(timeout=10.0))
        return endpoint.connect(RecorderFactory())

    def reach(self, target: str = "bob", peer: Peer | None = None) -> Any:
        protocol = self.network.waitFor(self.ask(target, peer))
        protocol.transport.write(b"hello")
        self.network.waitFor(protocol.whenReceived(5))
        return protocol

    def refused(self, target: str = "bob", peer: Peer | None = None) -> HolepunchError:
        settled: list[Any] = []
        self.ask(target, peer).addBoth(settled.append)
        self.network.internet.advance(15.0)
        assert isinstance(settled[0], Failure)
        error = settled[0].value
        assert isinstance(error, HolepunchError)
        return error


class KnownNameTests(AccessTestCase):
    """
    Whom we mean by a name.
    """

    def test_firstUse(self) -> None:
        """
        A name is pinned when its peer is reached for the first time, and not before.
        """
        self.begin(Ask(lambda request: False))
        self.refused()
        self.assertIsNone(self.known.find("bob"))
        self.doCleanups()
        self.begin()
        self.reach()
        known = self.known.find("bob")
        assert known is not None
        self.assertEqual((known.peerID, known.origin), (BOB.peerID, FIRST_USE))

    def test_datagramsPinNothing(self) -> None:
        """
        A path for bare datagrams proves no key, so it pins none.
        """
        network = self.begin()
        paths: list[Any] = []
        network.waitFor(Deferred.fromCoroutine(self.bob.acceptDatagrams(paths.append)))
        path = network.waitFor(self.alice.openDatagrams("bob"))
        self.assertIsNone(self.known.find("bob"))
        for each in (path, *paths):
            each.whenLost().addErrback(lambda failure: None)

    def test_firstUseOfALink(self) -> None:
        """
        A name that is first used over a connection which was made by ID is pinned just so.
        """
        self.begin()
        options = SessionOptions(transports=frozenset({Transport.UDP}))
        for target, isPinned in ((BOB.peerID.text, False), ("bob", True)):
            endpoint = self.alice.connectEndpoint(target, options)
            self.network.waitFor(endpoint.connect(RecorderFactory()))
            self.assertEqual(self.known.find("bob") is not None, isPinned)
        introduced = [each for each in self.network.events["alice"] if type(each) is Introduced]
        self.assertEqual(len(introduced), 1)

    def test_changedKey(self) -> None:
        """
        Who registers under a known name with another key is refused loudly, before it learns any
        address of ours.
        """
        network = self.begin()
        self.known.pin("bob", EVE.peerID, FIRST_USE)
        error = self.refused()
        self.assertIsInstance(error, PeerIdentityChanged)
        for part in (str(BOB.peerID), str(EVE.peerID), FIRST_USE, "holepunch peers remove bob"):
            self.assertIn(part, str(error))
        self.assertNotIn(Introduced, [type(event) for event in network.events["bob"]])

    def test_otherName(self) -> None:
        """
        A known peer is found by its key, whatever name it is registered under.
        """
        self.begin(name="robert")
        self.known.pin("bob", BOB.peerID)
        self.reach("bob")

    def test_offline(self) -> None:
        """
        A known peer that is offline is that, and nothing worse.
        """
        self.begin(name="robert")
        self.known.pin("carol", EVE.peerID)
        self.assertIsInstance(self.refused("carol"), UnknownPeer)

    def test_unreadable(self) -> None:
        """
        Where the known peers cannot be read, nobody is asked for by name, and that is said.
        """
        network = self.begin()
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("bob scribble\n")
        carol = network.peer("alice", "carol", knownPeers=KnownPeersFile(path))
        self.assertIsInstance(self.refused("bob", carol), CannotRead)
        self.reach(BOB.peerID.text, carol)


class ListenerTests(AccessTestCase):
    """
    Whom a listening peer lets in.
    """

    def test_allowed(self) -> None:
        """
        Who is allowed connects as ever.
        """
        self.begin(AccessList(KnownPeers(), [ALICE.peerID.text]))
        self.reach()

    def test_refused(self) -> None:
        """
        Who is not gets one clear sentence, and no address; the listener hears of it.
        """
        network = self.begin(AccessList(KnownPeers(), [EVE.peerID.text]))
        error = self.refused()
        self.assertIsInstance(error, SessionRefused)
        sentence = f"the peer does not let you in: its user can allow your ID, {ALICE.peerID}"
        self.assertEqual(str(error), sentence)
        self.assertNotIn(Introduced, [type(event) for event in network.events["alice"]])
        [event] = [each for each in network.events["bob"] if isinstance(each, Refused)]
        self.assertEqual((event.remotePeer, event.remoteName), (ALICE.peerID, "alice"))
        sessions = [each for each in network.events["bob"] if isinstance(each, Mapped)]
        self.assertEqual([each.session for each in sessions if each.session], [])

    def test_request(self) -> None:
        """
        The authoriser is told who it is, by key and by both names, and what it wants.
        """
        requests: list[AccessRequest] = []

        def decide(request: AccessRequest) -> bool:
            requests.append(request)
            return True

        self.begin(Ask(decide))
        self.bob.knownPeers.pin("friend", ALICE.peerID, FIRST_USE)
        self.reach()
        [request] = requests
        self.assertEqual((request.remote, request.remoteName), (ALICE.peerID, "alice"))
        self.assertEqual((request.knownName, request.application), ("friend", "holepunch"))

    def test_later(self) -> None:
        """
        A person may take a moment to decide; nothing is told to the requester before.
        """
        decision: Deferred[bool] = Deferred()
        network = self.begin(Ask(lambda request: decision))
        asked = self.ask()
        network.internet.advance(5.0)
        self.assertNotIn(Introduced, [type(event) for event in network.events["alice"]])
        decision.callback(True)
        protocol = network.waitFor(asked)
        protocol.transport.write(b"hello")
        network.waitFor(protocol.whenReceived(5))

    def test_tooLate(self) -> None:
        """
        A decision about a peer that has left opens nothing.
        """
        decision: Deferred[bool] = Deferred()
        network = self.begin(Ask(lambda request: decision))
        self.ask().addErrback(lambda failure: None)
        network.internet.advance(1.0)
        network.waitFor(self.alice.stopService())
        network.internet.advance(1.0)
        decision.callback(True)
        network.internet.advance(5.0)
        self.assertNotIn(Introduced, [type(event) for event in network.events["bob"]])

    def test_many(self) -> None:
        """
        Requests that nobody decides on are bounded, as sessions are.
        """
        undecided: list[Deferred[bool]] = []

        def wait(request: AccessRequest) -> Deferred[bool]:
            undecided.append(Deferred())
            return undecided[-1]

        network = self.begin(Ask(wait))
        peers = [network.peer("alice", f"peer{number}") for number in range(3)]
        for peer in peers:
            network.waitFor(peer.whenRegistered())
        for peer in peers:
            for _ in range(30):
                self.ask(peer=peer).addErrback(lambda failure: None)
            network.internet.advance(0.5)
        self.assertEqual(len(undecided), 64)
        network.internet.advance(15.0)
        for each in undecided:
            each.callback(False)

    def test_application(self) -> None:
        """
        Who was let in for a ping gets no stream.
        """
        network = self.begin(Ask(lambda request: request.application == "holepunch-ping"))
        self.assertIsInstance(self.refused(), SessionRefused)
        path = network.waitFor(self.alice.openPingPath("bob", SessionOptions()))
        self.assertGreater(network.waitFor(path.ping()), 0.0)
        path.close()


class LyingServiceTests(AccessTestCase):
    """
    A service that introduces somebody else under a name that is known; see also
    L{tests.peer.test_hostileservice}.
    """

    def test_otherPeer(self) -> None:
        """
        Whoever it introduces in place of a known peer gets no connection.
        """
        network = self.begin()
        self.known.pin("bob", EVE.peerID)
        registry: Any = network.service.exchange.registry
        registry.find = lambda target, find=registry.find: find("bob")
        error = self.refused()
        self.assertIsInstance(error, PeerIdentityChanged)
        self.assertIn(str(EVE.peerID), str(error))
        self.assertIsInstance(error, RendezvousError)
        self.assertNotIn(Introduced, [type(event) for event in network.events["alice"]])

    def test_inTheMiddle(self) -> None:
        """
        Whom it puts in the place of a known peer, under that peer's own ID, cannot prove the key:
        nothing that we say arrives there, and nothing is believed that comes from there.
        """
        network = self.network = self.build("port-restricted/port-restricted")
        self.known = KnownPeers([KnownPeer(name="bob", peerID=BOB.peerID)])

        class Lying(MainConnection):
            def deliver(self, effect: Any) -> None:
                if isinstance(effect, Introduce):
                    told = attrs.evolve(effect.introduction, remote=BOB.peerID)
                    effect = attrs.evolve(effect, introduction=told)
                super().deliver(effect)

        network.service.factory.protocol = Lying
        registry: Any = network.service.exchange.registry
        registry.find = lambda target, find=registry.find: find("eve")
        eve, factory = network.peer("bob", "eve", identity=EVE), EchoFactory()
        self.alice = network.peer("alice", "alice", identity=ALICE, knownPeers=self.known)
        network.listen(eve, factory)
        network.waitFor(self.alice.whenRegistered())
        for target in ("bob", BOB.peerID.text):
            self.assertIsInstance(self.refused(target), HolepunchError)
        self.assertEqual([each.received for each in factory.built], [])
        bob = self.known.find("bob")
        assert bob is not None
        self.assertEqual(bob.peerID, BOB.peerID)
