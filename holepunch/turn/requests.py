"""
The requests of one allocation that are under way: authenticated, sent again, challenged.

Several are under way at once. When the relay asks for a credential, or for another nonce, all of
them are sent again in their order: whatever else it would answer to them is known.

Owns: transactions, and the credential in them (RFC 8489 sections 6.2 and 9.2.5).
Knows nothing of: what requests are for.
Driven by: L{AllocationClient<holepunch.turn.allocationclient.AllocationClient>}.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs

from holepunch.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    ClientTransaction,
    LongTermClient,
    Message,
    Method,
    ReceivedMessage,
    ResponseFate,
)


@attrs.frozen
class Request:
    """
    What is asked.

    @ivar purpose: Tells the caller what for.
    """

    purpose: Hashable
    method: Method
    attributes: tuple[Attribute, ...]


@attrs.frozen
class Outcome:
    """
    A request has come to its end.

    @ivar response: C{None} where the relay did not answer, or not believably.
    @ivar isRefused: The relay refuses the credential.
    """

    request: Request
    response: ReceivedMessage | None = None
    isRefused: bool = False


class RequestFlow:
    """
    All requests of one client to one relay.
    """

    def __init__(
        self,
        credential: LongTermClient,
        randomBytes: Callable[[int], bytes],
        isReliable: bool,
        rto: float,
    ) -> None:
        self._credential = credential
        self._randomBytes = randomBytes
        self._isReliable = isReliable
        self._rto = rto
        self._underWay: dict[bytes, tuple[Request, ClientTransaction]] = {}
        self._held: list[Request] = []
        self._outgoing: list[bytes] = []

    def renew(self, username: str, password: str) -> None:
        """
        Use another credential of the same user from now on.

        @raise BadCredentials: It cannot be one.
        """
        self._credential = self._credential.renewed(username, password)

    def submit(self, request: Request, now: float) -> None:
        """
        Send a request.
        """
        message = Message.request(
            request.method, self._randomBytes(TRANSACTION_ID_LENGTH), request.attributes
        )
        data = self._credential.encode(message)
        self._underWay[message.transactionId] = (
            request,
            ClientTransaction(data, now, rto=self._rto, reliable=self._isReliable),
        )
        self._outgoing.append(data)

    def hold(self, request: Request) -> None:
        """
        Keep a request until L{release}.
        """
        self._held.append(request)

    def release(self, now: float) -> None:
        """
        Send what was held.
        """
        held, self._held = self._held, []
        for request in held:
            self.submit(request, now)

    def isUnderWay(self, purpose: Hashable) -> bool:
        """
        Is a request for that purpose held, or sent and not answered?
        """
        requests = [request for request, _ in self._underWay.values()] + self._held
        return any(request.purpose == purpose for request in requests)

    def clear(self) -> None:
        """
        Forget all requests.
        """
        self._underWay.clear()
        self._held.clear()

    def receive(self, message: ReceivedMessage, now: float) -> Outcome | None:
        """
        Take a response.

        @return: The end of its request; C{None} where it is none, or the request goes on.
        """
        request, transaction = self._underWay.get(message.transactionId, (None, None))
        if request is None or transaction is None or not transaction.matches(message):
            return None
        fate = self._credential.receiveResponse(message)
        if fate is ResponseFate.RETRY:
            again = [request for request, _ in self._underWay.values()]
            self._underWay.clear()
            for each in again:
                self.submit(each, now)
            return None
        if fate is ResponseFate.IGNORED and not self._isReliable:
            return None
        del self._underWay[message.transactionId]
        return Outcome(
            request,
            message if fate is ResponseFate.ACCEPTED else None,
            isRefused=fate is ResponseFate.REFUSED,
        )

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}.
        """
        timeouts = (transaction.nextTimeout() for _, transaction in self._underWay.values())
        return min((at for at in timeouts if at is not None), default=None)

    def handleTimeout(self, now: float) -> list[Outcome]:
        """
        Send again what it is time for.

        @return: The requests that the relay has not answered at all.
        """
        ended = []
        for transactionId, (request, transaction) in list(self._underWay.items()):
            data = transaction.handleTimeout(now)
            if data is not None:
                self._outgoing.append(data)
            elif transaction.isExpired:
                del self._underWay[transactionId]
                ended.append(Outcome(request))
        return ended

    def takeOutgoing(self) -> list[bytes]:
        """
        Take the messages to send.
        """
        outgoing, self._outgoing = self._outgoing, []
        return outgoing
