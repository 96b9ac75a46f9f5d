"""
From host names to addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from holepunch.address import TransportAddress
from holepunch.errors import UnknownHost
from holepunch.peer.resolving import resolve, resolveFamilies


@implementer(IHostResolution)
class Resolution:
    """
    One question to the resolver below.
    """

    isCancelled = False

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        self.isCancelled = True


@implementer(IHostnameResolver)
class Resolver:
    """
    Knows one host; answers when told to. It is its own reactor.
    """

    def __init__(self, *addresses: IAddress) -> None:
        self.nameResolver = self
        self.addresses = addresses

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.receiver = resolutionReceiver
        self.resolution = Resolution(hostName)
        self.receiver.resolutionBegan(self.resolution)
        return self.resolution

    def answer(self) -> None:
        for address in self.addresses:
            self.receiver.addressResolved(address)
        self.receiver.resolutionComplete()


class ResolveTests(SynchronousTestCase):
    """
    L{resolve}.
    """

    def resolve(self, resolver: Resolver, host: str) -> Deferred[TransportAddress]:
        reactor: Any = resolver
        return Deferred.fromCoroutine(resolve(reactor, host, 3478))

    def test_families(self) -> None:
        """
        Of each version of IP, the first address is taken, IPv4's first; of a literal, itself.
        """
        resolver: Any = Resolver(
            IPv6Address("TCP", "2001:db8::1", 0),
            IPv6Address("TCP", "2001:db8::2", 0),
            IPv4Address("TCP", "192.0.2.1", 0),
        )
        resolving = Deferred.fromCoroutine(resolveFamilies(resolver, "example.org", 7))
        resolver.answer()
        self.assertEqual(
            self.successResultOf(resolving),
            (TransportAddress("192.0.2.1", 7), TransportAddress("2001:db8::1", 7)),
        )
        literal = Deferred.fromCoroutine(resolveFamilies(resolver, "2001:db8::3", 7))
        self.assertEqual(self.successResultOf(literal), (TransportAddress("2001:db8::3", 7),))

    def test_fake(self) -> None:
        """
        The resolver of these tests is one.
        """
        verifyObject(IHostnameResolver, Resolver())
        verifyObject(IHostResolution, Resolution("name"))

    def test_literal(self) -> None:
        """
        An address is not looked up.
        """
        found = self.successResultOf(self.resolve(Resolver(), "2001:db8::1"))
        self.assertEqual(found, TransportAddress("2001:db8::1", 3478))

    def test_prefersIPv4(self) -> None:
        """
        Of a host's addresses the first IPv4 one is taken: NATs are mostly there.
        """
        resolver = Resolver(
            IPv6Address("TCP", "2001:db8::1", 0),
            IPv4Address("TCP", "192.0.2.1", 0),
            IPv4Address("TCP", "192.0.2.2", 0),
        )
        resolving = self.resolve(resolver, "stun.example.org")
        self.assertNoResult(resolving)
        resolver.answer()
        self.assertEqual(self.successResultOf(resolving), TransportAddress("192.0.2.1", 3478))

    def test_unknown(self) -> None:
        """
        A name without an address is named in the sentence.
        """
        resolver = Resolver()
        resolving = self.resolve(resolver, "nowhere.example.org")
        resolver.answer()
        self.assertIn(
            "nowhere.example.org", str(self.failureResultOf(resolving, UnknownHost).value)
        )

    def test_impossible(self) -> None:
        """
        What cannot be a name is not looked up.
        """
        for host in ("a" * 64, "a..b"):
            self.failureResultOf(self.resolve(Resolver(), host), UnknownHost)

    def test_cancelled(self) -> None:
        """
        Cancelling ends the look-up, and an answer that comes too late does no harm.
        """
        resolver = Resolver()
        resolving = self.resolve(resolver, "stun.example.org")
        resolving.cancel()
        self.failureResultOf(resolving)
        self.assertTrue(resolver.resolution.isCancelled)
        resolver.answer()
