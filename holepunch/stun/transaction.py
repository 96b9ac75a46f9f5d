"""
A client transaction: when to send the request again, and when to give up
(RFC 8489 sections 6.2.1 and 6.2.2).

Owns: the retransmission schedule.
Knows nothing of: sockets; whether a response is authentic.
Driven by: whoever sends requests; L{ClientTransaction.nextTimeout} tells when to call back.
"""

from __future__ import annotations

from holepunch.errors import LocalProtocolError
from holepunch.stun.message import MessageClass, ReceivedMessage, decode


class ClientTransaction:
    """
    One request and its retransmissions. The caller sends C{request} when it makes this object.

    With the default numbers a datagram leaves at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 seconds, and
    the transaction expires at 39.5 (section 6.2.1). Over a reliable transport nothing is sent again
    and the time until expiry is the same (section 6.2.2).

    A response ends the transaction: drop the object then.

    @ivar transactionId: Of the request.
    @ivar sentAt: When the request was sent last.
    @ivar attempts: How often it was sent.
    @ivar isExpired: Has the time run out? Nothing happens after that.
    """

    def __init__(
        self,
        request: bytes,
        now: float,
        rto: float = 0.5,
        requestCount: int = 7,
        finalFactor: float = 16,
        reliable: bool = False,
    ) -> None:
        """
        @param request: The encoded request.
        @param now: When it is sent for the first time.
        @param rto: The retransmission time-out that the doubling begins with (RTO).
        @param requestCount: How many times it is sent at most (Rc).
        @param finalFactor: How many times C{rto} the last one waits (Rm).
        @param reliable: It goes over TCP.
        @raise LocalProtocolError: C{request} is none, or a number makes no sense.
        """
        message = decode(request)
        if message.messageClass is not MessageClass.REQUEST:
            raise LocalProtocolError("a transaction begins with a request")
        if rto <= 0 or requestCount < 1 or finalFactor <= 0:
            raise LocalProtocolError("rto, requestCount and finalFactor must be positive")
        self.transactionId = message.transactionId
        self.sentAt = now
        self.attempts = 1
        self.isExpired = False
        self._request = request
        self._method = message.method
        self._finalInterval = rto * finalFactor
        self._requestCount = requestCount
        self._interval = rto
        if reliable:
            self._finalInterval += rto * (2 ** (requestCount - 1) - 1)
            self._requestCount = 1
        self._timeoutAt = now + self._wait()

    def _wait(self) -> float:
        return self._interval if self.attempts < self._requestCount else self._finalInterval

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; C{None} once expired.
        """
        return None if self.isExpired else self._timeoutAt

    def handleTimeout(self, now: float) -> bytes | None:
        """
        Tell the transaction what time it is.

        @return: The request, where it is to be sent again at this moment.
        """
        if self.isExpired or now < self._timeoutAt:
            return None
        if self.attempts >= self._requestCount:
            self.isExpired = True
            return None
        self.attempts += 1
        self._interval *= 2
        self.sentAt = now
        self._timeoutAt = now + self._wait()
        return self._request

    def matches(self, message: ReceivedMessage) -> bool:
        """
        Is C{message} a response to this request? Whether it is authentic is another question.
        """
        return (
            message.transactionId == self.transactionId
            and message.method == self._method
            and message.messageClass in (MessageClass.SUCCESS, MessageClass.ERROR)
        )

    def rtt(self, now: float) -> float | None:
        """
        The round trip that a response at C{now} shows; C{None} after a retransmission, when nobody
        knows which request was answered (section 6.2.1, Karn's algorithm).
        """
        return now - self.sentAt if self.attempts == 1 else None
