"""
The peer's end of a main connection as far as it asks: requests, and errors as ours.

Owns: what AMP's and the transport's errors become.
Knows nothing of: the commands.
Driven by: L{RendezvousClient<holepunch.rendezvous.client.RendezvousClient>} and what it is made of.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError, RendezvousError, RendezvousUnreachable
from holepunch.rendezvous.arguments import printable
from holepunch.rendezvous.line import Line


class RequestLine(Line):
    """
    A main connection over which a peer asks.

    @ivar reason: Why the connection is being lost, where that is known before.
    """

    reason: RendezvousError | None = None

    def request(self, command: type[amp.Command], **fields: Any) -> Deferred[dict[str, Any]]:
        """
        Ask the service.

        @return: Fires with the results; fails with a L{HolepunchError}.
        """
        asked: Deferred[dict[str, Any]] = self.callRemote(command, **fields)
        return asked.addErrback(self._translate)

    def tell(self, command: type[amp.Command], **fields: Any) -> Deferred[None]:
        """
        Ask for something that has no results.
        """
        return self.request(command, **fields).addCallback(lambda answer: None)

    def lossFor(self, failure: Failure) -> RendezvousError:
        """
        Why the connection was lost.
        """
        if self.reason is not None:
            return self.reason
        return RendezvousUnreachable(f"the main connection was lost: {lossOf(failure.value)}")

    def _translate(self, failure: Failure) -> Failure:
        error = failure.value
        if isinstance(error, HolepunchError):
            # It may have been written by the other peer, or by whoever runs the service.
            text = str(error)
            return failure if text.isprintable() else Failure(type(error)(printable(text)))
        if isinstance(error, CancelledError):
            return failure
        if failure.check(ConnectionClosed, SSL.Error) is not None:
            return Failure(self.lossFor(failure))
        text = printable(str(error))
        return Failure(RendezvousError(f"the rendezvous service failed: {text}"))


def lossOf(error: BaseException | None) -> str:
    """
    Why a connection to the service ended, as the rest of a sentence.

    Twisted's own words speak of an other side, which for a peer is another peer.
    """
    if isinstance(error, ConnectionDone):
        return "the rendezvous service closed it"
    if isinstance(error, ConnectionClosed):
        return ", ".join(["it broke off", *map(str, error.args)])
    return str(error).rstrip(".")
