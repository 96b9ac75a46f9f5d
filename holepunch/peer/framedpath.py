"""
A path for datagrams on a punched TCP connection: each in a frame of its own (RFC 4571), as are the
checks that keep it alive.

A connection that cannot keep up drops datagrams, as a network does: to keep all of them would only
make them late, and what runs above would not learn that it sends too fast.

Owns: the frames, its checks.
Knows nothing of: how the connection came to be.
Driven by: the connection, through L{PunchingConnection}; the application; the clock.
"""

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.errors import MalformedMessage, PathLost, PeerClosed
from holepunch.identity import PeerID
from holepunch.peer.openpath import PairPath
from holepunch.peer.proofdriver import ProofDriver
from holepunch.peer.sendqueue import SendQueue
from holepunch.punch import Path, SessionConfig
from holepunch.punch.pairproof import PairProofConfig
from holepunch.stun import Rfc4571Framer, frameRfc4571, looksLikeStun

_LINGER = 5.0
# So many checks and answers wait for a connection that is full.
_UNREAD_CHECKS = 64


class _PathSession(Protocol):
    """
    What a path needs of its session.
    """

    def end(self, reason: Exception) -> None:
        """
        Close.
        """


@implementer(IPushProducer)
class FramedPath(PairPath):
    """
    Datagrams to and from one peer, over a TCP connection.

    It is the I{protocol} of the connection.
    """

    def __init__(
        self,
        clock: IReactorTime,
        path: Path,
        addresses: tuple[PeerID, PeerID],
        config: SessionConfig,
        session: _PathSession,
    ) -> None:
        """
        @param path: What was nominated, and proven with that.
        @param config: The session's.
        """
        super().__init__(clock, path, addresses)
        assert config.remoteCredentials is not None
        self._session = session
        self._framer = Rfc4571Framer()
        self._proof = ProofDriver(
            clock,
            PairProofConfig(
                isControlling=config.isControlling,
                local=config.localCredentials,
                remote=config.remoteCredentials,
                candidate=path.localCandidate,
                randomBytes=config.randomBytes,
                isProven=True,
                keepaliveInterval=config.keepaliveInterval,
                consentTimeout=config.consentTimeout,
            ),
            send=self._sendCheck,
            proven=lambda: None,
            answered=self.answered,
            lost=lambda reason: session.end(PathLost(reason)),
        )
        self._queue: SendQueue[None] = SendQueue(lambda _, data: self._sendFrame(data))
        self._unread = 0
        self._lingerCall: IDelayedCall | None = None
        self._tcp: ITCPTransport | None = None

    # --- the application --------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """
        Send one datagram, unless too many wait already; after the path is lost, it goes nowhere.

        @param data: At most 65,535 bytes.
        @raise ValueError: C{data} would be taken for STUN.
        """
        if looksLikeStun(data):
            raise ValueError("these bytes would be taken for STUN: begin with another byte")
        if not self.isLost:
            self._queue.put(None, data)

    def probe(self) -> None:
        """
        Send a check.
        """
        self._proof.probe()

    def close(self) -> None:
        """
        Close the path.
        """
        self._proof.close()
        self._session.end(PeerClosed("the path was closed"))

    def lost(self, reason: Failure) -> None:
        """
        The session has ended.
        """
        self._proof.stop()
        super().lost(reason)

    # --- the connection below ---------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """
        The connection is ours.
        """
        self._tcp = cast(ITCPTransport, transport)
        cast(IConsumer, transport).registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Cut it into datagrams.
        """
        try:
            messages = self._framer.feed(data)
        except MalformedMessage:
            self.close()
            return
        for message in messages:
            if self.isLost:
                return
            if looksLikeStun(message):
                self._proof.receive(message, self.path.remote)
            else:
                self.deliver(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone.
        """
        self._tcp = None
        self._queue.clear()
        self._proof.stop()
        if self._lingerCall is not None and self._lingerCall.active():
            self._lingerCall.cancel()

    def abandon(self) -> None:
        """
        Close the connection once what was written has left, or when that takes too long.
        """
        tcp = self._tcp
        if tcp is not None:
            cast(IConsumer, tcp).unregisterProducer()
            self._lingerCall = self._clock.callLater(_LINGER, tcp.abortConnection)
            tcp.loseConnection()

    def _sendCheck(self, data: bytes) -> None:
        """
        Send a check, or an answer, though the connection be full: it has to go on living. But
        whoever sends checks, and reads no answers, gets no more.
        """
        if self._queue.isFull:
            self._unread += 1
        if self._unread <= _UNREAD_CHECKS:
            self._sendFrame(data)

    def _sendFrame(self, data: bytes) -> None:
        if self._tcp is not None and not self.isLost:
            self._tcp.write(frameRfc4571(data))

    # --- back-pressure ----------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """
        The connection is full.
        """
        self._queue.pause()

    def resumeProducing(self) -> None:
        """
        There is room again.
        """
        self._unread = 0
        self._queue.resume()

    def stopProducing(self) -> None:
        """
        The connection is gone; L{connectionLost} follows.
        """
