"""
One Binding request to any STUN server, over UDP or TCP, with its answer (RFC 8489 section 6.2).

Owns: sending, sending again, and recognising the answer.
Knows nothing of: what the answers are good for.
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, MalformedMessage
from holepunch.nat.discovery import Observation
from holepunch.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    AttributeType,
    ChangeRequest,
    ClientTransaction,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    StunFramer,
    decode,
)

_RTO = 0.25


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


def _bindingRequest(randomBytes: Callable[[int], bytes], change: ChangeRequest | None) -> bytes:
    attributes = () if change is None else (Attribute(AttributeType.CHANGE_REQUEST, change),)
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

    def __init__(self, clock: IReactorTime, randomBytes: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._randomBytes = randomBytes
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
        self, server: TransportAddress, change: ChangeRequest | None = None, requestCount: int = 5
    ) -> Deferred[Answer | None]:
        """
        Ask a server.

        @param change: From where the answer shall come.
        @param requestCount: How often the request is sent at most; a second after the last one it
            is given up.
        @return: Fires with C{None} when there is no answer.
        """
        return self._begin(server, change, requestCount, self._transactions)

    def hear(self, sender: DatagramAsker, mapped: TransportAddress) -> Deferred[Answer | None]:
        """
        Let C{sender} send to our own mapped address, to see whether it comes back to us.
        """
        return sender._begin(mapped, None, 3, self._echoes)

    def _begin(
        self,
        remote: TransportAddress,
        change: ChangeRequest | None,
        requestCount: int,
        table: dict[bytes, _Transaction],
    ) -> Deferred[Answer | None]:
        transaction = _Transaction(
            self._clock,
            _bindingRequest(self._randomBytes, change),
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


class StreamAsker(Protocol):
    """
    Asks once on a TCP connection.

    @ivar answered: Fires with the answer; with C{None} where the connection ended without one.
    """

    def __init__(self, randomBytes: Callable[[int], bytes]) -> None:
        self._request = _bindingRequest(randomBytes, None)
        self._framer = StunFramer()
        self.answered: Deferred[Answer | None] = Deferred()
        self.local: TransportAddress

    def connectionMade(self) -> None:
        """
        Ask.
        """
        transport: Any = self.transport
        host, peer = transport.getHost(), transport.getPeer()
        self.local = TransportAddress(host.host, host.port)
        self._server = TransportAddress(peer.host, peer.port)
        transport.write(self._request)

    def close(self) -> None:
        """
        Close the connection.
        """
        cast(ITransport, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Take the answer.
        """
        try:
            for message in self._framer.feed(data):
                self._finish(Answer(self._server, decode(message)))
        except MalformedMessage:
            self._finish(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        There will be no answer, if there was none.
        """
        self._finish(None)

    def _finish(self, answer: Answer | None) -> None:
        if not self.answered.called:
            self.answered.callback(answer)


def giveUp(result: object, seconds: float) -> None:
    """
    For C{Deferred.addTimeout}: no answer in time is no answer.
    """
    return None


def observations(
    local: TransportAddress,
    servers: Sequence[TransportAddress],
    answers: Sequence[Answer | None],
) -> list[Observation]:
    """
    What those servers saw that answered.
    """
    return [
        Observation(local=local, server=server, mapped=answer.mapped)
        for server, answer in zip(servers, answers, strict=True)
        if answer is not None and answer.mapped is not None and answer.source == server
    ]


def corners(server: TransportAddress, answers: Sequence[Answer | None]) -> list[TransportAddress]:
    """
    Other addresses of a server (RFC 5780 section 6.1): one differs in the port, one in the host.
    """
    other = next((each.otherAddress for each in answers if each is not None), None)
    if other is None or other.family is not server.family or not other.port:
        return []
    return [TransportAddress(server.host, other.port), TransportAddress(other.host, server.port)]
