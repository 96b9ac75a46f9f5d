"""
Tests for L{holepunch.endpoints}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from holepunch.endpoints import ClientEndpoint, ServerEndpoint, parseClient, parseServer
from holepunch.errors import (
    BadAddress,
    BadCredentials,
    BadIdentity,
    BadPeerID,
    HolepunchError,
    RendezvousUnreachable,
    UnknownName,
    UsageError,
)
from holepunch.identity import Identity
from holepunch.lab import SimulatedInternet, Topology
from holepunch.peer import KnownPeersFile, SystemHostAddresses

SERVICE = "31.2.0.9:4460"


class EndpointStringTests(SynchronousTestCase):
    """
    Strings with mistakes, and listening that comes to nothing.
    """

    def setUp(self) -> None:
        """
        Make a machine without a service.
        """
        self.internet = SimulatedInternet(Topology.parse("port-restricted/none"), seed=1)
        self.reactor: Any = self.internet.host("alice").reactor
        addresses = self.internet.host("alice").addresses
        self.patch(SystemHostAddresses, "hostAddresses", lambda system: addresses)
        self.identity = self.mktemp()
        self.patch(os, "environ", {**os.environ, "XDG_CONFIG_HOME": self.mktemp()})
        os.environ.pop("HOLEPUNCH_RENDEZVOUS", None)

    def client(self, rendezvous: str, identity: str, **others: str) -> ClientEndpoint:
        return parseClient(self.reactor, "bob", rendezvous=rendezvous, identity=identity, **others)

    def server(self, rendezvous: str, identity: str) -> ServerEndpoint:
        return parseServer(self.reactor, name="bob", rendezvous=rendezvous, identity=identity)

    def test_mistakesInWords(self) -> None:
        """
        What cannot be read is refused when it is read.
        """
        for text in (
            "holepunch:bob",
            "holepunch:bob:rendezvous=x:timeout=nan",
            "holepunch:bob:rendezvous=x:timeout=soon",
            "holepunch:bob:rendezvous=x:tcpFlow=both",
            "holepunch:bob:rendezvous=x:transport=sctp",
            "holepunch:bob:rendezvous=x:relay=always",
            "holepunch:bob:rendezvous=x:colour=red",
        ):
            self.assertRaises(ValueError, clientFromString, self.reactor, text)
        for text in (
            "holepunch:name=web",
            "holepunch:name=bad name:rendezvous=x",
            "holepunch:name=web:rendezvous=x:colour=red",
            "holepunch:name=web:rendezvous=x:allow=bad name",
            "holepunch:name=web:rendezvous=x:deny=bob,a/b",
        ):
            self.assertRaises(ValueError, serverFromString, self.reactor, text)

    def test_wordsWithoutKeyword(self) -> None:
        """
        A colon that should have been escaped is pointed at, and so is a peer that is missing.
        """
        for parse, text, part in (
            (clientFromString, "holepunch:bob:rendezvous=127.0.0.1:4460", "what is '4460'?"),
            (clientFromString, "holepunch:bob:carol:rendezvous=x", "what is 'carol'?"),
            (clientFromString, "holepunch:bob:target=carol:rendezvous=x", "has no target="),
            (clientFromString, "holepunch:rendezvous=x", "no peer"),
            (clientFromString, "holepunch::rendezvous=x", "no peer"),
            (serverFromString, "holepunch:name=web:rendezvous=127.0.0.1:4460", "what is '4460'?"),
            (serverFromString, "holepunch:web:rendezvous=x", "what is 'web'?"),
        ):
            error = self.assertRaises(UsageError, parse, self.reactor, text)
            self.assertIn(part, str(error))

    def test_mistakesInValues(self) -> None:
        """
        What makes no sense is told when it is used, and no peer is left behind.
        """
        factory = Factory.forProtocol(Protocol)
        for rendezvous, identity, kind in (
            ("host:port", self.identity, BadAddress),
            ("somebody@host", self.identity, BadPeerID),
            (SERVICE, "\0", BadIdentity),
            (SERVICE, "/", BadIdentity),
        ):
            endpoints = (
                self.client(rendezvous, identity).connect(factory),
                self.server(rendezvous, identity).listen(factory),
            )
            for endpoint in endpoints:
                self.failureResultOf(endpoint, kind).trap(HolepunchError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_noService(self) -> None:
        """
        The first connect fails as soon as the service cannot be reached, and nothing goes on then;
        the next one tries again.
        """
        endpoint = self.client("5.1.0.1:9", self.identity)
        for _ in range(2):
            connecting = [endpoint.connect(Factory.forProtocol(Protocol)) for _ in range(2)]
            for each in connecting:
                # Not assertRaisesRegex, which clears the frames of coroutines that go on.
                error = self.assertRaises(RendezvousUnreachable, self.internet.waitFor, each, 2.0)
                self.assertIn("5.1.0.1:9", str(error))
            self.internet.advance(1.0)
            self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.getReaders()), ([], []))

    def test_silentService(self) -> None:
        """
        A service that never answers is given up when the time is over.
        """
        endpoint = self.client("203.0.113.9", self.identity, timeout="3")
        connecting = endpoint.connect(Factory.forProtocol(Protocol))
        error = self.assertRaises(RendezvousUnreachable, self.internet.waitFor, connecting, 4.0)
        self.assertIn("203.0.113.9 did not answer within 3 seconds", str(error))
        self.internet.advance(1.0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_patientListener(self) -> None:
        """
        Whoever listens waits for the service, and says in the log what is the matter.
        """
        logged: list[str] = []

        @provider(ILogObserver)
        def observer(event: LogEvent) -> None:
            logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        endpoint = self.server("5.1.0.1:9", self.identity)
        listening = endpoint.listen(Factory.forProtocol(Protocol))
        self.internet.advance(10.0)
        self.assertNoResult(listening)
        self.assertTrue([line for line in logged if "cannot reach" in line], logged)
        listening.addErrback(lambda failure: failure.trap(CancelledError))
        listening.cancel()
        self.internet.advance(1.0)

    def test_access(self) -> None:
        """
        A string says who may connect, and by which file names are known.
        """
        known = self.mktemp()
        text = f"holepunch:rendezvous=x:identity={self.identity}:known={known}:allow=alice, bob"
        factory = Factory.forProtocol(Protocol)
        endpoint = serverFromString(self.reactor, text)
        self.failureResultOf(endpoint.listen(factory), UnknownName)
        for name in ("alice", "bob"):
            KnownPeersFile(known).pin(name, Identity.generate().peerID)
        listening = endpoint.listen(factory)
        self.assertNoResult(listening)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.internet.advance(1.0)

    def test_user(self) -> None:
        """
        A string says who logs in; the password comes from a file or the environment, or is missing.
        """
        file = self.mktemp()
        with open(file, "w") as opened:
            opened.write("secret\n")
        factory = Factory.forProtocol(Protocol)
        text = f"holepunch:bob:rendezvous={SERVICE.replace(':', chr(92) + ':')}:user=alice"
        text = f"{text}:identity={self.identity}:timeout=1"
        missing = clientFromString(self.reactor, text).connect(factory)
        self.failureResultOf(missing, UsageError)
        wrong = clientFromString(self.reactor, f"{text}:passwordFile=/missing").connect(factory)
        self.failureResultOf(wrong, BadCredentials)
        found = [clientFromString(self.reactor, f"{text}:passwordFile={file}").connect(factory)]
        os.environ["HOLEPUNCH_PASSWORD"] = "secret"
        found.append(clientFromString(self.reactor, text).connect(factory))
        for connecting in found:
            self.assertNoResult(connecting)
            connecting.cancel()
            self.failureResultOf(connecting)
        self.internet.advance(1.0)

    def test_cancelledListening(self) -> None:
        """
        Listening that is cancelled leaves no peer behind that goes on registering.
        """
        endpoint = self.server(SERVICE, self.identity)
        listening = endpoint.listen(Factory.forProtocol(Protocol))
        self.internet.advance(1.0)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.internet.advance(1.0)
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.getReaders()), ([], []))
