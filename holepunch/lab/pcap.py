"""
Captures: what crosses one link, as a file that Wireshark and tcpdump read.

Owns: the classic pcap format with nanoseconds (draft-ietf-opsawg-pcap), link type Ethernet.
Knows nothing of: links; who calls it for which packets.
Driven by: L{Fabric<holepunch.lab.fabric.Fabric>}, which calls a L{Capture} as a tap.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from twisted.logger import Logger

from holepunch.errors import LabError
from holepunch.lab.frames import encodeFrame
from holepunch.nat import Packet

_log = Logger()
_MAGIC_NANOSECONDS = 0xA1B23C4D
_ETHERNET = 1
_LONGEST = 262144
_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")


class Capture:
    """
    One file that is being written.

    Every packet is in the file as soon as it was taken, so that a capture can be read while it
    goes on, and is whole when its writer is killed.

    @param path: The file; what was in it is lost.
    @param startOfTime: Seconds from 1970 to the moment 0 of the packets' clock.
    @raise LabError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], startOfTime: float = 0.0) -> None:
        try:
            self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise LabError(f"The capture cannot be written: {error}") from None
        self._startOfTime = startOfTime
        self._file.write(_HEADER.pack(_MAGIC_NANOSECONDS, 2, 4, 0, 0, _LONGEST, _ETHERNET))

    def __call__(self, now: float, packet: Packet) -> None:
        """
        Write a packet. When the file cannot be written any more, the capture ends, and the network
        goes on.
        """
        if self._file.closed:
            return
        head, rest = encodeFrame(packet, hasOffload=False)
        length = len(head) + len(rest)
        nanoseconds = round((self._startOfTime + now) * 1e9)
        record = _RECORD.pack(nanoseconds // 10**9, nanoseconds % 10**9, length, length)
        try:
            self._file.write(record + head + bytes(rest))
        except OSError as error:
            _log.warn("capture {name} ends: {error}", name=self._file.name, error=error)
            self.close()

    def close(self) -> None:
        """
        Finish the file.
        """
        self._file.close()
