"""
Peers that have been let in, and then take more of a link than it is for.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import SessionRefused
from holepunch.identity import Identity
from holepunch.peer import AccessRequest, Ask, PeerConfig, SessionOptions
from holepunch.peer import link as linkModule
from holepunch.peer.access import Access
from holepunch.peer.events import Closed
from holepunch.peer.links import Links
from holepunch.peer.quic import QUICConnection
from holepunch.peer.quiccore import QUICSettings
from holepunch.peer.relayedpath import RelayedPath, relayedCandidate
from holepunch.punch import Credentials, Path
from holepunch.punch.pairproof import PairProofConfig
from holepunch.rendezvous.introduction import Use
from tests.peer.network import RecorderFactory
from tests.peer.quicnetwork import MemoryPath
from tests.peer.test_hostileservice import introductionTo
from tests.peer.test_links import UDP, LinkTestCase

PATIENT = SessionOptions(transports=frozenset({Transport.UDP}), timeout=300.0)


class Deaf(QUICConnection):
    """
    A client hears nothing of the server, and begins its handshake again and again.
    """

    def __init__(self, *arguments: Any, isClient: bool, **options: Any) -> None:
        settings = QUICSettings(idleTimeout=300.0) if isClient else None
        self._isDeaf = isClient
        super().__init__(*arguments, isClient=isClient, settings=settings, **options)

    def _pathReceived(self, data: bytes) -> None:
        if not self._isDeaf:
            super()._pathReceived(data)


class HostileLinkTests(LinkTestCase):
    """
    Alice is the hostile one.
    """

    def test_endlessHandshake(self) -> None:
        """
        Who keeps the handshake going without an end loses the link.
        """
        network = self.build("port-restricted/port-restricted")
        self.patch(linkModule, "QUICConnection", Deaf)
        connecting = self.alice.connectEndpoint("bob", PATIENT).connect(RecorderFactory())
        connecting.addErrback(lambda failure: None)
        network.internet.advance(45.0)
        [closed] = self.told(Closed, "bob")
        self.assertIn("did not prove its identity in time", closed.reason)

    def test_unusedLinks(self) -> None:
        """
        Who opens ever more links and uses none is refused further ones, and may begin anew later.
        """
        network = self.build("port-restricted/port-restricted")
        self.patch(Links, "find", lambda links, target, options: None)
        eve = network.peer("alice", "eve", PeerConfig(linkIdleTimeout=300.0))
        network.waitFor(eve.whenRegistered())
        refused: list[Failure] = []
        for number in range(20):
            # Options that differ in anything are a request of its own.
            options = SessionOptions(transports=UDP.transports, timeout=30.0 + number)
            connecting = eve.connectEndpoint("bob", options).connect(RecorderFactory())
            connecting.addCallbacks(
                lambda protocol: protocol.transport.loseConnection(), refused.append
            )
            network.internet.advance(0.7)
        self.assertEqual({each.type for each in refused}, {SessionRefused})
        self.assertEqual(len(refused), 4)
        network.internet.advance(60.0)
        self.assertEchoes(self.connect(peer=eve))

    def test_undecidedStreams(self) -> None:
        """
        Who opens one stream after the other, and closes it before anybody has decided on it, is
        asked about no more than some times.
        """
        asked: list[AccessRequest] = []

        def wait(request: AccessRequest) -> Deferred[bool]:
            asked.append(request)
            return Deferred()

        access = Access(authoriser=Ask(wait))
        admitting = [
            Deferred.fromCoroutine(access.admit(self.peerID, None, "x")) for _ in range(100)
        ]
        self.assertEqual(len(asked), 64)
        for each in admitting[64:]:
            self.failureResultOf(each, SessionRefused)
        other = Deferred.fromCoroutine(access.admit(Identity.generate().peerID, None))
        self.assertNoResult(other)

    peerID = Identity.generate().peerID


class LinkBoundTests(SynchronousTestCase):
    """
    The parts by themselves.
    """

    def test_manyPaths(self) -> None:
        """
        A link that has paths enough is not continued by further sessions.
        """
        clock: Any = Clock()
        host: Any = SimpleNamespace(mainConnectionDoubted=lambda: None)
        links = Links(clock, Identity.generate(), PeerConfig(), host, lambda event: None)
        remote = Identity.generate().peerID
        first = introductionTo(remote, use=Use.DATAGRAMS)
        address = TransportAddress("203.0.113.5", 1)
        session: Any = SimpleNamespace(introduction=first)
        connected: Any = SimpleNamespace(path="direct", remote=address)
        pair = Path(
            transport=Transport.UDP,
            local=address,
            remote=address,
            localCandidate=relayedCandidate(address),
            remoteCandidate=relayedCandidate(address),
        )
        again = attrs.evolve(first, sessionID="again", continues=first.sessionID)
        for number in range(8):
            path: Any = MemoryPath(clock, (remote, remote), number)
            path.path = pair
            links.pathFound(session, path, connected)
            if number < 7:
                self.assertEqual(links.toContinue(again).identifier, first.sessionID)
        self.assertRaises(SessionRefused, links.toContinue, again)

    def test_manyRelayedAddresses(self) -> None:
        """
        Who names ever more relayed addresses as its own takes no more than a few of our channels.
        """
        permitted: list[str] = []
        sent: list[TransportAddress] = []
        allocation: Any = SimpleNamespace(
            permit=permitted.append,
            addRoute=lambda remote, user: None,
            bindChannel=lambda remote: None,
            send=lambda remote, data: sent.append(remote),
            leave=lambda fragment, user: None,
        )
        ids = (Identity.generate().peerID, Identity.generate().peerID)
        clock = Clock()
        proof = PairProofConfig(
            isControlling=True,
            local=Credentials.generate(os.urandom),
            remote=Credentials.generate(os.urandom),
            candidate=relayedCandidate(),
            randomBytes=os.urandom,
        )
        ignore: Any = lambda *arguments: None  # noqa: E731
        path = RelayedPath(
            clock,
            allocation,
            ids,
            proof,
            "link",
            allocated=ignore,
            checked=ignore,
            proven=ignore,
            ended=ignore,
        )
        for port in range(1, 300):
            path.addRemote(TransportAddress("203.0.113.5", port))
        self.assertEqual((len(permitted), len(set(sent))), (8, 8))
        path.close()
        self.assertEqual(clock.getDelayedCalls(), [])
