"""
What every protocol of the command line has in common: a connection, and how it ended.

Owns: the Deferred that tells the end.
Knows nothing of: what goes over the connection.
Driven by: L{holepunch.cli.join} and L{holepunch.cli.answering}.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.errors import HolepunchError, PathLost


class IConnection(ITCPTransport, IConsumer, IPushProducer):
    """
    What the transport of a stream can do.
    """


@implementer(IHalfCloseableProtocol)
class ConnectionProtocol(Protocol):
    """
    A protocol whose end somebody waits for.

    @ivar finished: Fires when both directions have ended; fails with a L{HolepunchError} when data
        may have been lost. Cancelling it aborts the connection.
    @ivar error: Why it fails, where that is known before the connection ends.
    """

    def __init__(self) -> None:
        self.finished: Deferred[None] = Deferred(lambda _: self.abort())
        self.error: HolepunchError | None = None

    @property
    def connection(self) -> IConnection:
        """
        The transport.
        """
        return cast(IConnection, self.transport)

    def abort(self) -> None:
        """
        End the connection at once.
        """
        if self.transport is not None:
            self.connection.abortConnection()

    def readConnectionLost(self) -> None:
        """
        The peer sends no more.
        """

    def writeConnectionLost(self) -> None:
        """
        Everything that we had is sent.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Both directions have ended.
        """
        if self.error is None and not reason.check(ConnectionDone):
            sentence = reason.getErrorMessage().rstrip(".")
            self.error = PathLost(f"the connection to the peer was lost: {sentence}")
        self.ended()

    def ended(self) -> None:
        """
        Called when the connection has ended: by default that is the end.
        """
        self.finish()

    def finish(self) -> None:
        """
        Tell who waits, if anybody still does.
        """
        if self.finished.called:
            return
        if self.error is None:
            self.finished.callback(None)
        else:
            self.finished.errback(self.error)
