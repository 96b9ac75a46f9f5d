"""
Making the main connection.

Owns: the way from a service's location to a secured connection, within a time limit.
Knows nothing of: what is said over it (L{RendezvousClient}); when to connect again.
Driven by: L{holepunch.peer}.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from holepunch.address import Family, TransportAddress
from holepunch.errors import BadAddress, RendezvousUnreachable, WrongPeer
from holepunch.identity import Identity
from holepunch.interfaces import IKnownServices, IRendezvousEvents
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.requestline import lossOf
from holepunch.tls import IdentityTLS, IdentityTLSFactory, NamedServiceTLS

CONNECT_TIMEOUT = 15.0
# Twisted's own words speak of an other side, which for a peer is another peer.
_WORDS = {
    ConnectionRefusedError: "nobody listens there",
    TimeoutError: "it does not answer",
    TCPTimedOutError: "it does not answer",
    NoRouteError: "there is no route to it",
}


def connectRendezvous(
    reactor: Any,
    location: ServiceLocation,
    identity: Identity,
    events: IRendezvousEvents,
    *,
    known: IKnownServices | None = None,
    bindAddress: Any = None,
    timeout: float = CONNECT_TIMEOUT,
) -> Deferred[RendezvousClient]:
    """
    Connect to a rendezvous service, and make sure that it is the right one.

    Cancelling the Deferred at any moment closes what was opened.

    @param reactor: Provides C{twisted.internet.interfaces.IReactorTCP},
        C{twisted.internet.interfaces.IReactorTime}, and, for a host name,
        C{twisted.internet.interfaces.IReactorPluggableNameResolver}.
    @param known: Where the service's key is remembered when C{location} does not give it; C{None}
        believes any.
    @param bindAddress: What C{twisted.internet.tcp.makeBinding} gave: the punching port.
    @param timeout: Seconds for all of it.
    @raise RendezvousUnreachable: There was no connection, or not in time.
    @raise ServiceIdentityChanged: The service showed another key than before.
    @raise WrongPeer: It showed another key than C{location} demands, or a bad certificate.
    """

    def tooLate(result: object, seconds: float) -> RendezvousClient:
        raise RendezvousUnreachable(
            f"the rendezvous service {location.address} did not answer within {seconds:g} seconds"
        )

    connected = Deferred.fromCoroutine(
        _connect(reactor, location, identity, events, known, bindAddress, timeout)
    )
    return connected.addTimeout(timeout, reactor, tooLate)


async def _connect(
    reactor: Any,
    location: ServiceLocation,
    identity: Identity,
    events: IRendezvousEvents,
    known: IKnownServices | None,
    bindAddress: Any,
    timeout: float,
) -> RendezvousClient:
    if location.expected is not None:
        tls = IdentityTLS(identity, location.expected, isLean=True)
    else:
        tls = NamedServiceTLS(identity, location.host)
    client = RendezvousClient(reactor, location, events, known)
    factory = Factory.forProtocol(lambda: client)
    factory.noisy = False
    endpoint = _endpointTo(reactor, location, timeout, bindAddress)
    try:
        await endpoint.connect(IdentityTLSFactory(reactor, tls, True, factory))
        return await client.secured
    except ConnectingCancelledError:
        raise CancelledError from None
    except WrongPeer as error:
        raise WrongPeer(_aboutService(location, str(error))) from None
    except (ConnectError, DNSLookupError, ConnectionClosed, SSL.Error) as error:
        raise RendezvousUnreachable(
            f"cannot reach the rendezvous service {location.address}: {_sentence(error)}"
        ) from None


def _endpointTo(
    reactor: Any, location: ServiceLocation, timeout: float, bindAddress: Any
) -> IStreamClientEndpoint:
    try:
        address = TransportAddress(location.host, location.port)
    except BadAddress:
        named: IStreamClientEndpoint = HostnameEndpoint(
            reactor, location.host, location.port, timeout, bindAddress
        )
        return named
    kind = TCP6ClientEndpoint if address.family is Family.IPV6 else TCP4ClientEndpoint
    literal: IStreamClientEndpoint = kind(reactor, address.host, address.port, timeout, bindAddress)
    return literal


def _aboutService(location: ServiceLocation, sentence: str) -> str:
    """
    TLS has the same words for a service and for a peer.
    """
    service = f"the rendezvous service {location.address}"
    told = sentence.replace("the other side", service)
    return told if service in told else f"{service} is not to be believed: {told}"


def _sentence(error: Exception) -> str:
    if isinstance(error, SSL.Error):
        reasons = error.args[0] if error.args else ()
        words = ", ".join(str(reason[-1]) for reason in reasons)
        return f"it does not speak TLS as we do ({words or 'no reason given'})"
    if isinstance(error, ConnectionClosed):
        return lossOf(error)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return str(error).rstrip(".")
