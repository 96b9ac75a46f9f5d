"""
A punched UDP path: datagrams of the application between two peers.

Owns: the short way of application data between the socket and the application.
Knows nothing of: checks and consent, which its session goes on with.
Driven by: L{holepunch.peer.driver}, and the application.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import PathLost, PeerClosed
from holepunch.identity import PeerID
from holepunch.interfaces import IDatagramPath
from holepunch.peer.address import PunchedAddress
from holepunch.peer.datagramport import DatagramPort
from holepunch.punch import Path
from holepunch.stun import looksLikeStun

_WAITING_LIMIT = 16
_PING_TIMEOUT = 5.0


class _PathSession(Protocol):
    """
    What a path needs of its session.
    """

    def probe(self) -> None:
        """
        Send a check at once.
        """

    def end(self, reason: Exception) -> None:
        """
        Close.
        """


@implementer(IDatagramPath)
class DatagramPath:
    """
    Datagrams to and from one peer, over a hole in the NATs.

    They are neither encrypted nor proven by themselves: the session's checks keep strangers away
    from the path, but bring your own encryption.
    """

    def __init__(
        self,
        clock: IReactorTime,
        port: DatagramPort,
        path: Path,
        addresses: tuple[PeerID, PeerID],
        session: _PathSession,
    ) -> None:
        self._clock = clock
        self._port = port
        self._addresses = addresses
        self._session = session
        self._receiver: Callable[[bytes], None] | None = None
        self._early: deque[bytes] = deque(maxlen=_WAITING_LIMIT)
        self._pings: list[Deferred[float]] = []
        self._reason: Failure | None = None
        self._lostWaiters: list[Deferred[None]] = []
        self.moved(path)

    def moved(self, path: Path) -> None:
        """
        The session selected this pair.
        """
        self._path = path

    @property
    def path(self) -> Path:
        """
        The pair in use.
        """
        return self._path

    def getHost(self) -> PunchedAddress:
        """
        Our endpoint and peer ID.
        """
        return PunchedAddress.of(Transport.UDP, self._path.local, self._addresses[0])

    def getPeer(self) -> PunchedAddress:
        """
        The other side's endpoint and peer ID.
        """
        return PunchedAddress.of(Transport.UDP, self._path.remote, self._addresses[1])

    # --- the application ------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """
        Send one datagram; after the path is lost, it goes nowhere.

        @param data: At most 65,507 bytes; about 1,200 pass everywhere.
        @raise ValueError: C{data} would be taken for STUN (RFC 8489 section 5), which a first byte
            above 3 excludes.
        """
        if looksLikeStun(data):
            raise ValueError("these bytes would be taken for STUN: begin with another byte")
        if self._reason is None:
            self._port.send(self._path.remote, data)

    def setReceiver(self, receiver: Callable[[bytes], None]) -> None:
        """
        Call C{receiver} with each datagram that arrives, those that came before included.
        """
        self._receiver = receiver
        while self._early:
            receiver(self._early.popleft())

    def whenLost(self) -> Deferred[None]:
        """
        Fails with L{PathLost<holepunch.errors.PathLost>} when the other side answers no more, or
        with L{PeerClosed} after L{close}.
        """
        waiter: Deferred[None] = Deferred(self._lostWaiters.remove)
        if self._reason is not None:
            waiter.errback(self._reason)
        else:
            self._lostWaiters.append(waiter)
        return waiter

    def ping(self) -> Deferred[float]:
        """
        Measure one round trip by an authenticated check.

        @return: Fires with seconds; fails with L{PathLost<holepunch.errors.PathLost>} when there is
            no answer.
        """
        ping: Deferred[float] = Deferred(self._forgetPing)
        if self._reason is not None:
            ping.errback(self._reason)
            return ping
        self._pings.append(ping)
        timeout = self._clock.callLater(_PING_TIMEOUT, self._pingTimedOut, ping)

        def settle(result: object) -> object:
            if timeout.active():
                timeout.cancel()
            return result

        ping.addBoth(settle)
        self._session.probe()
        return ping

    def close(self) -> None:
        """
        Close the path.
        """
        self._session.end(PeerClosed("the path was closed"))

    # --- the session ----------------------------------------------------------------------------

    def takes(self, local: TransportAddress, remote: TransportAddress, data: bytes) -> bool:
        """
        The short way: if C{data} is the application's, deliver it.
        """
        path = self._path
        if looksLikeStun(data) or remote != path.remote or local != path.local:
            return False
        self.deliver(data)
        return True

    def deliver(self, data: bytes) -> None:
        """
        Application data arrived.
        """
        if self._receiver is not None:
            self._receiver(data)
        else:
            self._early.append(data)

    def answered(self, seconds: float) -> None:
        """
        A probe was answered.
        """
        if self._pings:
            self._pings.pop(0).callback(seconds)

    def lost(self, reason: Failure) -> None:
        """
        The session has ended.
        """
        self._reason = reason
        # One at a time: whoever hears of it may cancel the others.
        while self._pings:
            self._pings.pop(0).errback(reason)
        while self._lostWaiters:
            self._lostWaiters.pop(0).errback(reason)

    def _forgetPing(self, ping: Deferred[float]) -> None:
        self._pings.remove(ping)

    def _pingTimedOut(self, ping: Deferred[float]) -> None:
        if ping in self._pings:
            self._pings.remove(ping)
            ping.errback(PathLost("no answer"))
