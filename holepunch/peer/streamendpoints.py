"""
A peer's streams as Twisted endpoints.

Owns: the client endpoint, the server endpoint, and its listening port.
Knows nothing of: punching.
Driven by: programs, through L{Peer.connectEndpoint<holepunch.peer.peer.Peer.connectEndpoint>} and
L{Peer.listenEndpoint<holepunch.peer.peer.Peer.listenEndpoint>}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from holepunch.errors import SessionRefused
from holepunch.identity import PeerID
from holepunch.peer.config import SessionOptions
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.securestream import SecureStream

if TYPE_CHECKING:
    from holepunch.peer.peer import Peer

_log = Logger()


@implementer(IAddress)
@attrs.frozen
class PeerAddress:
    """
    Where a peer listens: its identity, and the name that it is registered under.
    """

    peerID: PeerID
    name: str | None


def attachProtocol(
    stream: SecureStream | QUICStream, factory: IProtocolFactory
) -> IProtocol | None:
    """
    Let C{factory} build the protocol of a new stream.

    @return: C{None} when the factory wanted none; the stream is closed then, as it is when the
        factory or its protocol raises.
    """
    try:
        protocol = factory.buildProtocol(stream.getPeer())
        if protocol is not None:
            stream.attach(protocol)
    except BaseException:
        stream.abortConnection()
        raise
    if protocol is None:
        stream.abortConnection()
    return protocol


@implementer(IStreamClientEndpoint)
class PeerClientEndpoint:
    """
    Connects to one peer.
    """

    def __init__(self, peer: Peer, target: str, options: SessionOptions) -> None:
        self._peer = peer
        self._target = target
        self._options = options

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect to the peer.

        @return: Fires with the protocol, connected to the proven peer; fails with a
            L{HolepunchError<holepunch.errors.HolepunchError>} that says why not. Cancelling it
            closes everything.
        """
        return self._peer.openStream(self._target, self._options).addCallback(
            self._attach, protocolFactory
        )

    def _attach(self, stream: SecureStream | QUICStream, factory: IProtocolFactory) -> IProtocol:
        protocol = attachProtocol(stream, factory)
        if protocol is None:
            raise SessionRefused("this side's factory built no protocol for the connection")
        return protocol

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._target}>"


@implementer(IStreamServerEndpoint)
class PeerServerEndpoint:
    """
    Lets other peers connect.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Register as a peer that may be asked for.

        @return: Fires with the port once that is so; fails with
            C{twisted.internet.error.CannotListenError} when this peer listens
            already, or with the service's reason.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = PeerListeningPort(self._peer, factory)
        await port.begin()
        return port


@implementer(IListeningPort)
class PeerListeningPort:
    """
    Hands each stream that another peer opens to a protocol of the factory.
    """

    def __init__(self, peer: Peer, factory: IProtocolFactory) -> None:
        self._peer = peer
        self._factory = factory
        self._isStopped = False

    async def begin(self) -> None:
        """
        Begin to accept.
        """
        if self._peer.isListening:
            raise CannotListenError(None, None, "this peer listens already")
        self._factory.doStart()
        try:
            await self._peer.acceptStreams(self._accept)
        except BaseException:
            self._factory.doStop()
            raise

    def startListening(self) -> None:
        """
        It listens from its making.
        """

    def stopListening(self) -> Deferred[None]:
        """
        Accept no more; connections stay.
        """
        if self._isStopped:
            return succeed(None)
        self._isStopped = True
        self._factory.doStop()
        return Deferred.fromCoroutine(self._peer.acceptStreams(None))

    def getHost(self) -> IAddress:
        """
        Who listens: a L{PeerAddress}.
        """
        return PeerAddress(self._peer.peerID, self._peer.name)

    def _accept(self, stream: SecureStream | QUICStream) -> None:
        try:
            attachProtocol(stream, self._factory)
        except Exception:
            _log.failure("the protocol of a new connection could not be built")
