"""
A main connection that bears a bad peer: one that says nothing, asks too much, or does not read.

Owns: what the service allows one connection, and what happens to it beyond that.
Knows nothing of: registrations and sessions.
Driven by: the TLS transport; L{MainConnection} is the rest of it.
"""

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.errors import TooManyRequests
from holepunch.identity import PeerID
from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.limits import TokenBucket
from holepunch.rendezvous.line import Line

# How many times the burst of requests a peer may be refused in a row before it is disconnected.
_PATIENCE = 4


class HasExchange(Protocol):
    """
    The factory of main connections.
    """

    exchange: Exchange


class GuardedLine(Line):
    """
    The service's end of a main connection, without its commands.

    @ivar peerID: Who the peer is, once TLS has proved it.
    @ivar observed: Where the connection comes from.
    """

    observed: TransportAddress
    peerID: PeerID | None = None

    @property
    def exchange(self) -> Exchange:
        """
        What all connections of the service share.
        """
        # Not an attribute: Python stores objects compactly only up to thirty of them.
        return cast(HasExchange, self.factory).exchange

    def connectionMade(self) -> None:
        """
        Somebody is there, and has some time to register.
        """
        limits = self.exchange.limits
        now = self.clock.seconds()
        self._bucket = TokenBucket(limits.requestsPerSecond, limits.requestBurst, now)
        self._refusals = 0
        self._deadline: IDelayedCall | None = self.clock.callLater(
            limits.registrationTimeout, self._tooSlow
        )
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone.
        """
        super().connectionLost(reason)
        self.inTime()

    def inTime(self) -> None:
        """
        The peer has registered: it may stay.
        """
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def misbehaved(self, reason: str) -> None:
        """
        The peer broke the protocol.
        """
        self.exchange.complaints.complain(self.peerID or self.observed, reason)

    def requestReceived(self) -> None:
        """
        Count a request.

        @raise TooManyRequests: There were too many in a short time.
        """
        if self._bucket.take(self.clock.seconds()):
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals > _PATIENCE * self.exchange.limits.requestBurst:
            self.drop("too many requests, in spite of all refusals")
        raise TooManyRequests

    def _tooSlow(self) -> None:
        self._deadline = None
        if self.peerID is None:
            self._abort()
        else:
            self.hangUp("the peer did not register in time")
