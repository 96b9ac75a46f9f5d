"""
From a host name to an address.

Owns: asking the reactor's resolver, as a coroutine.
Knows nothing of: what the address is for.
Driven by: whoever takes host names from a person.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from holepunch.address import Family, TransportAddress
from holepunch.errors import BadAddress, UnknownHost


@implementer(IResolutionReceiver)
class _Addresses:
    """
    Collects what the resolver finds.
    """

    def __init__(self) -> None:
        self.found: list[IPv4Address | IPv6Address] = []
        self.done: Deferred[None] = Deferred(lambda _: self._resolution.cancel())

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        The resolver has begun.
        """
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """
        It found one.
        """
        if isinstance(address, IPv4Address | IPv6Address):
            self.found.append(address)

    def resolutionComplete(self) -> None:
        """
        It found all.
        """
        if not self.done.called:
            self.done.callback(None)


def checkHostName(host: str) -> None:
    """
    Make sure that a resolver can be asked for C{host}: some never answer when they cannot.

    @raise UnknownHost: It cannot be a name.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        raise UnknownHost(f"{host[:80]!r} cannot be the name of a host") from None


async def resolve(reactor: IReactorPluggableNameResolver, host: str, port: int) -> TransportAddress:
    """
    Find the address of a host: IPv4 where it has one.

    @param host: A name or an IP literal.
    @raise UnknownHost: It has none.
    """
    return (await resolveFamilies(reactor, host, port))[0]


async def resolveFamilies(
    reactor: IReactorPluggableNameResolver, host: str, port: int
) -> tuple[TransportAddress, ...]:
    """
    Find the address of a host for each version of IP in which it has one, IPv4 first.

    @param host: A name or an IP literal.
    @raise UnknownHost: It has none.
    """
    try:
        return (TransportAddress(host, port),)
    except BadAddress:
        checkHostName(host)
    addresses = _Addresses()
    resolver: Any = reactor.nameResolver
    resolver.resolveHostName(addresses, host, port)
    await addresses.done
    if not addresses.found:
        raise UnknownHost(f"no host is named {host!r}: check the spelling, and the name service")
    found = [TransportAddress(address.host, port) for address in addresses.found]
    firsts = {address.family: address for address in reversed(found)}
    return tuple(firsts[family] for family in Family if family in firsts)
