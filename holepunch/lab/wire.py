"""
The lab's end of one wire: frames out of and into the interface of a host or a router.

Owns: the raw socket on the near end.
Knows nothing of: what is in a frame, who is at the far end.
Driven by: the reactor, when frames can be read; the engine, to write them.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

_log = Logger()

# linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h; Python names none of them.
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_VNET_HDR = 15
_PACKET_QDISC_BYPASS = 20
_PACKET_IGNORE_OUTGOING = 23
_ETH_P_ALL = 3
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BUFFER = 32 * 1024 * 1024

_LONGEST_FRAME = 10 + 14 + 65535
_FRAMES_A_TURN = 64
_FULL = (errno.EAGAIN, errno.ENOBUFS)


@implementer(IReadDescriptor)
class Wire:
    """
    One raw socket.

    @param near: The name of the interface.
    @param received: Called with each frame.
    @param keepTime: Called before and after a run of frames.
    @param useOffload: Have the kernel hand over runs of TCP segments uncut and checksums
        unfinished, which is much faster.
    @ivar hasOffload: Does it? Then a C{virtio_net_hdr} stands before each frame.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        near: str,
        received: Callable[[bytes], None],
        keepTime: Callable[[], None],
        useOffload: bool = True,
    ) -> None:
        self._near = near
        self._reactor = reactor
        self._received = received
        self._keepTime = keepTime
        # Protocol 0 until everything is set: nothing is read before.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.hasOffload = useOffload and self._ask(_PACKET_VNET_HDR)
        self._ask(_PACKET_QDISC_BYPASS)
        self._widen(_SO_RCVBUFFORCE, socket.SO_RCVBUF)
        self._widen(_SO_SNDBUFFORCE, socket.SO_SNDBUF)
        self._socket.bind((near, _ETH_P_ALL))
        reactor.addReader(self)

    def _ask(self, option: int) -> bool:
        try:
            self._socket.setsockopt(_SOL_PACKET, option, 1)
        except OSError:
            return False
        return True

    def _widen(self, forced: int, polite: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
        except PermissionError:
            # In a user namespace of our own; net.core.rmem_max and wmem_max bound it.
            self._socket.setsockopt(socket.SOL_SOCKET, polite, _BUFFER)

    def write(self, pieces: tuple[bytes, bytes | memoryview]) -> bool:
        """
        Write one frame.

        @return: C{False}: the kernel did not take it, and it is lost.
        """
        try:
            self._socket.sendmsg(pieces)
        except OSError as error:
            if error.errno not in _FULL:
                _log.debug("frame to {near} refused: {error}", near=self._near, error=error)
            return False
        return True

    def doRead(self) -> None:
        """
        Frames can be read.
        """
        self._keepTime()
        for _ in range(_FRAMES_A_TURN):
            try:
                frame = self._socket.recv(_LONGEST_FRAME)
            except OSError:
                # Nothing more to read; or the interface went down, which is told once.
                break
            try:
                self._received(frame)
            except Exception:
                # The reactor would cut the wire.
                _log.failure("frame from {near} failed", near=self._near)
        self._keepTime()

    def overflowed(self) -> int:
        """
        How many frames the kernel threw away since the last call, because we read too slowly.
        """
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        _, dropped = struct.unpack("=II", statistics)
        return int(dropped)

    def fileno(self) -> int:
        """
        The descriptor that the reactor watches.
        """
        return self._socket.fileno()

    def connectionLost(self, reason: object) -> None:
        """
        The reactor lets go of the socket.
        """
        self._socket.close()

    def logPrefix(self) -> str:
        """
        Who this is, in the log.
        """
        return f"wire {self._near}"
