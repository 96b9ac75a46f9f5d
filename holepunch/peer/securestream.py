"""
A stream over a punched TCP connection: TLS 1.3 with both identities pinned, as a Twisted transport.

Owns: one OpenSSL connection between a punched TCP connection below and the application's protocol
above; half-close (a close alert in one direction, RFC 8446 section 6.1), back-pressure both ways,
and the reasons of C{connectionLost}.
Knows nothing of: how the TCP connection came to be, candidates, or the rendezvous service.
Driven by: L{holepunch.peer.driver}, which hands over the connection; then by the two transports.

Twisted's own TLS transport has no half-close, so this is not a subclass of it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.peer.address import PunchedAddress
from holepunch.peer.puller import Puller

_RECORD = 2**14
_CHUNK = 2**16
# pyOpenSSL clears so much memory at each call: no more than one record comes, and its overhead.
_READ = _RECORD + 256
_LINGER = 5.0


class _Stage(enum.Enum):
    HANDSHAKE = "handshake"
    OPEN = "open"
    LOST = "lost"


@implementer(ITCPTransport, IPushProducer)
class SecureStream(Protocol):
    """
    TLS between a punched TCP connection and an application protocol.

    It is the I{protocol} of the TCP transport below and the I{transport} of the application's
    protocol above. Nothing reaches the application before the handshake has proven the peer.

    @ivar disconnecting: Was L{loseConnection} called?
    """

    disconnecting = False

    def __init__(
        self,
        clock: IReactorTime,
        connection: SSL.Connection,
        host: PunchedAddress,
        peer: PunchedAddress,
        handshakeDone: Callable[[SecureStream, Failure | None], None],
    ) -> None:
        """
        @param connection: A fresh OpenSSL connection without a socket, already told whether it is
            client or server, that accepts only the expected peer.
        @param handshakeDone: Called once, with C{None} when the peer is proven (then call
            L{attach}), or with the reason why the connection came to nothing.
        """
        self._clock = clock
        self._tls = connection
        self._host = host
        self._peer = peer
        self._handshakeDone: Callable[[SecureStream, Failure | None], None] | None = handshakeDone
        self._stage = _Stage.HANDSHAKE
        self._protocol: IProtocol | None = None
        self._outgoing: list[bytes] = []
        self._outgoingSize = 0
        self._flushCall: IDelayedCall | None = None
        self._lingerCall: IDelayedCall | None = None
        self._producer: IPushProducer | IPullProducer | None = None
        self._isPaused = False
        self._isReadClosed = False
        self._isWriteClosing = False
        self._isWriteClosed = False
        self._reason: Failure | None = None
        connection.set_app_data(self)

    # --- the TCP connection below ---------------------------------------------------------------

    def connectionMade(self) -> None:
        """
        The TCP connection is there: begin the handshake.
        """
        self._lower = cast(ITCPTransport, self.transport)
        self._advanceHandshake()

    def attach(self, protocol: IProtocol) -> None:
        """
        Hand the stream to the application, after the handshake.
        """
        self._protocol = protocol
        protocol.makeConnection(cast(ITransport, self))
        if self._stage is _Stage.OPEN and not self._isPaused and not self.disconnecting:
            self._lowerProducer.resumeProducing()
        self._deliver()
        if self._stage is _Stage.LOST and self._protocol is not None:
            # It was lost before anybody wanted it.
            self._protocol = None
            protocol.connectionLost(self._reason or connectionDone)

    def dataReceived(self, data: bytes) -> None:
        """
        Ciphertext arrived.
        """
        if self._stage is _Stage.LOST or self._isReadClosed:
            # Behind the close alert comes nothing of use, and nobody would read it out of OpenSSL.
            return
        self._tls.bio_write(data)
        if self._stage is _Stage.HANDSHAKE:
            self._advanceHandshake()
        else:
            self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The TCP connection ended: tell the application, with the reason that it can act on.
        """
        if self._stage is _Stage.LOST:
            return
        if self._stage is _Stage.OPEN and not self._reason:
            # What arrived before the end still belongs to the application.
            self._isPaused = False
            self._deliver()
        isClean = self._isReadClosed or self.disconnecting
        if self._reason is None and reason.check(ConnectionDone) and not isClean:
            reason = Failure(ConnectionLost("the connection ended without TLS's close alert"))
        elif self._reason is None and isClean and self._isWriteClosed:
            reason = Failure(ConnectionDone())
        self._lose(self._reason or reason)

    def _lose(self, reason: Failure) -> None:
        wasHandshake, self._stage = self._stage is _Stage.HANDSHAKE, _Stage.LOST
        self._reason = reason
        for call in (self._flushCall, self._lingerCall):
            if call is not None and call.active():
                call.cancel()
        self._outgoing.clear()
        self._producer = None
        if wasHandshake:
            self._finishHandshake(reason)
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)

    # --- TLS ------------------------------------------------------------------------------------

    def failVerification(self, reason: Failure) -> None:
        """
        The other side proved the wrong identity: note it, L{holepunch.tls} lets the handshake fail.
        """
        self._reason = reason

    def _advanceHandshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._transmit()
        except SSL.Error:
            self._fail(Failure())
        else:
            self._transmit()
            self._stage = _Stage.OPEN
            self._finishHandshake(None)
            if self._protocol is None and not self.disconnecting and self._stage is _Stage.OPEN:
                # Until the application takes the stream, what comes waits in the network.
                self._lowerProducer.pauseProducing()

    def _finishHandshake(self, failure: Failure | None) -> None:
        callback, self._handshakeDone = self._handshakeDone, None
        if callback is not None:
            callback(self, failure)

    def _fail(self, reason: Failure) -> None:
        self._transmit()
        self._reason = self._reason or reason
        if self._stage is _Stage.HANDSHAKE:
            # The alert that says why is to arrive.
            self._lower.loseConnection()
        else:
            self._lower.abortConnection()

    def _transmit(self) -> None:
        """
        Move what OpenSSL has to say to the TCP connection.
        """
        ciphertext = b""
        while not ciphertext or len(ciphertext) == _READ:
            try:
                ciphertext = self._tls.bio_read(_READ)
            except SSL.WantReadError:
                return
            self._lower.write(ciphertext)

    def _deliver(self) -> None:
        """
        Give the application what arrived, until it pauses us.
        """
        while (
            (self._protocol is not None or self.disconnecting)
            and not self._isPaused
            and not self._isReadClosed
        ):
            try:
                data = self._tls.recv(_RECORD)
            except SSL.WantReadError:  # noqa: PERF203 - the loop ends by it
                break
            except SSL.ZeroReturnError:
                self._readClosed()
            except SSL.Error:
                self._fail(Failure())
                break
            else:
                if self._protocol is not None and not self.disconnecting:
                    self._protocol.dataReceived(data)
        if self._stage is _Stage.OPEN:
            self._transmit()

    def _readClosed(self) -> None:
        """
        The peer will send no more.
        """
        self._isReadClosed = True
        if self._isWriteClosed:
            self._lower.loseConnection()
        elif IHalfCloseableProtocol.providedBy(self._protocol) and not self.disconnecting:
            cast(IHalfCloseableProtocol, self._protocol).readConnectionLost()
        else:
            # Nobody is interested in half of a connection: what was written is sent, then we close.
            self._stopProducer()
            self.loseConnection()

    def _stopProducer(self) -> None:
        if self._producer is not None:
            producer = self._producer
            self.unregisterProducer()
            producer.stopProducing()

    def _closeWrite(self) -> None:
        """
        Send the close alert once nothing is left to be written, and once only.
        """
        if self._isWriteClosed or self._producer is not None or self._stage is not _Stage.OPEN:
            return
        self._flush()
        self._isWriteClosed = True
        try:
            self._tls.shutdown()
        except SSL.Error:
            self._fail(Failure())
            return
        self._transmit()
        if self._isReadClosed:
            self._lower.loseConnection()
        elif self.disconnecting:
            self._linger()
        elif IHalfCloseableProtocol.providedBy(self._protocol):
            cast(IHalfCloseableProtocol, self._protocol).writeConnectionLost()

    def _linger(self) -> None:
        # Closing the socket with unread data would make the kernel send RST, which destroys what we
        # wrote last on its way to the application. So wait for the peer's close alert, for a while.
        self.resumeProducing()
        if self._stage is _Stage.OPEN and not self._isReadClosed:
            self._lingerCall = self._clock.callLater(_LINGER, self._lower.loseConnection)

    # --- the application above ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """
        Send bytes; small writes of one reactor turn become one TLS record.
        """
        if self._isWriteClosed or self._stage is _Stage.LOST:
            return
        if (self.disconnecting or self._isWriteClosing) and self._producer is None:
            return
        self._outgoing.append(data)
        self._outgoingSize += len(data)
        if self._outgoingSize >= _CHUNK:
            self._flush()
        elif self._flushCall is None:
            self._flushCall = self._clock.callLater(0, self._flush)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several pieces of bytes.
        """
        self.write(b"".join(data))

    def _flush(self) -> None:
        if self._flushCall is not None:
            if self._flushCall.active():
                self._flushCall.cancel()
            self._flushCall = None
        if not self._outgoing or self._stage is not _Stage.OPEN:
            return
        plaintext = memoryview(b"".join(self._outgoing))
        self._outgoing.clear()
        self._outgoingSize = 0
        try:
            for start in range(0, len(plaintext), _RECORD):
                self._tls.send(plaintext[start : start + _RECORD])
                self._transmit()
        except SSL.Error:
            self._fail(Failure())

    def loseWriteConnection(self) -> None:
        """
        Send everything that was written, then tell the peer that no more will come; go on reading.
        """
        if not self._isWriteClosing and not self.disconnecting:
            self._isWriteClosing = True
            self._closeWrite()

    def loseConnection(self) -> None:
        """
        Send everything that was written, then close both directions.
        """
        if self._stage is _Stage.HANDSHAKE:
            self.abortConnection()
            return
        if self.disconnecting or self._stage is _Stage.LOST:
            return
        self.disconnecting = True
        if self._isWriteClosed and not self._isReadClosed:
            self._linger()
        else:
            self._closeWrite()

    def abortConnection(self) -> None:
        """
        Close at once; what was written may be lost.
        """
        if self._stage is _Stage.LOST:
            return
        self.disconnecting = True
        self._reason = self._reason or Failure(ConnectionAborted())
        self._lower.abortConnection()

    def abandon(self) -> None:
        """
        Close the TCP connection once what was written has left, or when that takes too long.
        """
        self._lower.loseConnection()
        if self._stage is _Stage.LOST:
            return
        if self._lingerCall is not None and self._lingerCall.active():
            self._lingerCall.cancel()
        self._lingerCall = self._clock.callLater(_LINGER, self._lower.abortConnection)

    def getPeer(self) -> Any:
        """
        The peer's endpoint as seen from here, with its peer ID.
        """
        return self._peer

    def getHost(self) -> Any:
        """
        Our endpoint, with our peer ID.
        """
        return self._host

    def getPeerCertificate(self) -> object:
        """
        The certificate that the other side proved: a C{OpenSSL.crypto.X509}.
        """
        return self._tls.get_peer_certificate()

    @property
    def application(self) -> bytes | None:
        """
        What the two peers agreed to use this stream for (ALPN, RFC 7301).

        It is not Twisted's C{negotiatedProtocol}, which tells C{twisted.web} and others which
        version of their own protocol to speak.
        """
        return self._tls.get_alpn_proto_negotiated() or None

    def getTcpNoDelay(self) -> bool:
        """
        Is TCP_NODELAY set?
        """
        return bool(self._lower.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Set TCP_NODELAY.
        """
        self._lower.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Is SO_KEEPALIVE set?
        """
        return bool(self._lower.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Set SO_KEEPALIVE.
        """
        self._lower.setTcpKeepAlive(enabled)

    # --- back-pressure --------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let C{producer} be paused and resumed as the TCP connection fills and empties.
        """
        if self._stage is _Stage.LOST:
            producer.stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        # A pull producer may finish, and unregister, within the call below.
        self._producer = producer
        if not streaming:
            producer = Puller(self.pullFrom, producer)
        cast(IConsumer, self._lower).registerProducer(producer, streaming)

    def pullFrom(self, producer: IPullProducer) -> None:
        """
        Let C{producer} write until there is enough for one flush.
        """
        collected = -1
        while self._producer is producer and collected < self._outgoingSize:
            collected = self._outgoingSize
            producer.resumeProducing()
        self._flush()

    def unregisterProducer(self) -> None:
        """
        The producer has no more; a close that waited for it goes on.
        """
        if self._producer is None:
            return
        self._flush()
        self._producer = None
        cast(IConsumer, self._lower).unregisterProducer()
        if self.disconnecting or self._isWriteClosing:
            self._closeWrite()

    def pauseProducing(self) -> None:
        """
        Deliver nothing until L{resumeProducing}; the peer's TCP window fills.
        """
        self._isPaused = True
        self._lowerProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Go on delivering.
        """
        if self._stage is _Stage.LOST:
            return
        self._isPaused = False
        self._lowerProducer.resumeProducing()
        if self._stage is _Stage.OPEN:
            self._deliver()

    def stopProducing(self) -> None:
        """
        The application wants no more: close.
        """
        self.loseConnection()

    @property
    def _lowerProducer(self) -> IPushProducer:
        return cast(IPushProducer, self._lower)
