"""
How much a main connection may receive, counted before TLS has looked at it.

What a peer asks for is counted by L{holepunch.rendezvous.guardedline}. But TLS has messages of its
own, of which that hears nothing: a KeyUpdate (RFC 8446 section 4.6.3) is 27 bytes, costs the
receiver new keys and an answer, and may be sent as often as one likes. OpenSSL has no limit for it.

Owns: the bytes of each connection, and its end beyond the limit.
Knows nothing of: what they say.
Driven by: the TCP transport; L{holepunch.rendezvous.service} puts it under its main connections.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IProtocolFactory

from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.guardedline import GuardedLine
from holepunch.rendezvous.limits import TokenBucket
from holepunch.tls import IdentityTLS, IdentityTLSFactory, IdentityTLSTransport


class LimitedTLSTransport(IdentityTLSTransport):
    """
    Breaks off where too much comes in a short time.
    """

    _bytes: TokenBucket | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Count what came, before it causes any work.
        """
        exchange = cast(LimitedTLSFactory, self.factory).exchange
        now = exchange.clock.seconds()
        if self._bytes is None:
            limits = exchange.limits
            self._bytes = TokenBucket(limits.bytesPerSecond, limits.byteBurst, now)
        if self._bytes.take(now, len(data)):
            super().dataReceived(data)
        elif not self._aborted:
            cast(GuardedLine, self.wrappedProtocol).misbehaved("too many bytes in a short time")
            self.abortConnection()


class LimitedTLSFactory(IdentityTLSFactory):
    """
    Puts TLS under the main connections of a service.
    """

    protocol = LimitedTLSTransport

    def __init__(self, exchange: Exchange, tls: IdentityTLS, factory: IProtocolFactory) -> None:
        super().__init__(exchange.clock, tls, False, factory)
        self.exchange = exchange
