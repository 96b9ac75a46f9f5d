"""
One Binding request to any STUN server over UDP, with its answer (RFC 8489 section 6.2.1).

Owns: sending, sending again, and recognising the answer.
Knows nothing of: what the answers are good for.
Driven by: L{holepunch.peer.discoverydatagrams}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, MalformedMessage
from holepunch.nat.discoveryprobe import NO_CHANGE, Fate, Outcome
from holepunch.stun import (
    HEADER_LENGTH,
    TRANSACTION_ID_LENGTH,
    Attribute,
    AttributeType,
    ChangeRequest,
    ClientTransaction,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
)

_RTO = 0.25
# Nobody uses this attribute; below 0xC000 it would be somebody's who has not asked yet. Servers
# have to pass over what they do not know from 0x8000 on (RFC 8489 section 14).
_FILLER = 0xFFFE


@attrs.frozen
class Answer:
    """
    What came back.

    @ivar source: Where it came from.
    """

    source: TransportAddress
    message: ReceivedMessage

    @property
    def mapped(self) -> TransportAddress | None:
        """
        The mapped address in it; old servers know only the attribute without XOR.
        """
        if self.message.messageClass is not MessageClass.SUCCESS:
            return None
        for type in (AttributeType.XOR_MAPPED_ADDRESS, AttributeType.MAPPED_ADDRESS):
            value = self.message.get(type)
            if isinstance(value, TransportAddress):
                return value
        return None

    @property
    def otherAddress(self) -> TransportAddress | None:
        """
        The server's other address (RFC 5780 section 7.4).
        """
        value = self.message.get(AttributeType.OTHER_ADDRESS)
        return value if isinstance(value, TransportAddress) else None


def outcomeOf(local: TransportAddress, answer: Answer | None) -> Outcome:
    """
    What a plan is told of an answer.
    """
    if answer is None:
        return Outcome(fate=Fate.SILENT, local=local)
    kind = answer.message.messageClass
    fates = {MessageClass.REQUEST: Fate.HEARD, MessageClass.SUCCESS: Fate.ANSWERED}
    return Outcome(
        fate=fates.get(kind, Fate.REJECTED),
        local=local,
        source=answer.source,
        mapped=answer.mapped,
        otherAddress=answer.otherAddress,
    )


def bindingRequest(
    randomBytes: Callable[[int], bytes],
    change: ChangeRequest = NO_CHANGE,
    responsePort: int | None = None,
    length: int | None = None,
    isFilled: bool = False,
) -> bytes:
    """
    A new request.

    @param length: How many bytes it is to have, at least 24 and a multiple of four.
    @param isFilled: Let the answer be as long; otherwise, servers pass over what makes it long.
    """
    attributes = []
    if change:
        attributes.append(Attribute(AttributeType.CHANGE_REQUEST, change))
    if responsePort is not None:
        attributes.append(Attribute(AttributeType.RESPONSE_PORT, responsePort))
    if length is not None:
        filler = AttributeType.PADDING if isFilled else _FILLER
        attributes.append(Attribute(filler, bytes(length - HEADER_LENGTH - 4)))
    request = Message.request(Method.BINDING, randomBytes(TRANSACTION_ID_LENGTH), attributes)
    # Some old servers take FINGERPRINT for an error.
    return request.encode(fingerprint=False)


class _Transaction:
    """
    One request over UDP, until it is answered or given up.
    """

    def __init__(
        self,
        clock: IReactorTime,
        request: bytes,
        requestCount: int,
        send: Callable[[bytes], None],
        ended: Callable[[_Transaction], None],
    ) -> None:
        self._clock = clock
        self._send = send
        self._ended = ended
        self.core = ClientTransaction(
            request, clock.seconds(), rto=_RTO, requestCount=requestCount, finalFactor=4
        )
        self.answered: Deferred[Answer | None] = Deferred(lambda _: self._stop())
        self._call: IDelayedCall | None = None
        self._send(request)
        self._wait()

    def _wait(self) -> None:
        timeout = self.core.nextTimeout()
        if timeout is None:
            self.finish(None)
        else:
            delay = max(0.0, timeout - self._clock.seconds())
            self._call = self._clock.callLater(delay, self._timedOut)

    def _timedOut(self) -> None:
        self._call = None
        again = self.core.handleTimeout(self._clock.seconds())
        if again is not None:
            self._send(again)
        self._wait()

    def finish(self, answer: Answer | None) -> None:
        """
        Tell who asked.
        """
        self._stop()
        self.answered.callback(answer)

    def _stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._ended(self)


class DatagramAsker(DatagramProtocol):
    """
    A UDP socket that asks.

    @ivar local: Its address.
    """

    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._transactions: dict[bytes, _Transaction] = {}
        self._echoes: dict[bytes, _Transaction] = {}
        self.local: TransportAddress

    def startProtocol(self) -> None:
        """
        The socket is bound.
        """
        host = cast(Any, cast(IUDPTransport, self.transport).getHost())
        self.local = TransportAddress(host.host, host.port)

    def ask(
        self,
        remote: TransportAddress,
        request: bytes,
        requestCount: int,
        hearer: DatagramAsker,
        isEcho: bool = False,
    ) -> Deferred[Answer | None]:
        """
        Send a request.

        @param requestCount: How often it is sent at most; a second after the last one it is given
            up.
        @param hearer: The socket that hears the answer; with C{isEcho}, the request itself.
        @return: Fires with C{None} when nothing is heard.
        """
        table = hearer._echoes if isEcho else hearer._transactions
        transaction = _Transaction(
            self._clock,
            request,
            requestCount,
            lambda data: self._send(remote, data),
            lambda ended: cast(None, table.pop(ended.core.transactionId, None)),
        )
        table[transaction.core.transactionId] = transaction
        return transaction.answered

    def _send(self, remote: TransportAddress, data: bytes) -> None:
        # As lost as any other datagram: there may be no route.
        with contextlib.suppress(OSError):
            cast(IUDPTransport, self.transport).write(data, (remote.host, remote.port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Take an answer, or one of our own requests that came back.
        """
        try:
            answer = Answer(TransportAddress(addr[0], addr[1]), decode(datagram))
        except (MalformedMessage, BadAddress):
            return
        transaction = self._transactions.get(answer.message.transactionId)
        if transaction is not None and transaction.core.matches(answer.message):
            transaction.finish(answer)
            return
        echo = self._echoes.get(answer.message.transactionId)
        if echo is not None and answer.message.messageClass is MessageClass.REQUEST:
            echo.finish(answer)
