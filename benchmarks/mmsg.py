"""
Many datagrams in one system call: recvmmsg and sendmmsg (Linux) through ctypes.

Owns: the buffers of one batch.
Knows nothing of: what the datagrams hold.
Driven by: C{benchmarks/stun.py}.
"""

from __future__ import annotations

import ctypes
import os
import socket

_MSG_WAITFORONE = 0x10000
_ADDRESS_SIZE = 16
_libc = ctypes.CDLL(None, use_errno=True)


class _IOVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("nameLength", ctypes.c_uint32),
        ("vector", ctypes.POINTER(_IOVec)),
        ("vectorLength", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controlLength", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _MMsgHdr(ctypes.Structure):
    _fields_ = [("header", _MsgHdr), ("length", ctypes.c_uint)]


class Batch:
    """
    Room for so many datagrams of IPv4.

    @ivar count: How many there can be.
    """

    def __init__(self, count: int, size: int, isNamed: bool) -> None:
        """
        @param size: Of each datagram, as it is sent.
        @param isNamed: The socket is not connected, so each datagram comes with its address.
        """
        self.count = count
        self._size = size
        self._content = bytearray(count * size)
        self._names = (ctypes.c_char * (count * _ADDRESS_SIZE))()
        self._vectors = (_IOVec * count)()
        self._headers = (_MMsgHdr * count)()
        names = ctypes.addressof(self._names)
        content = ctypes.addressof(ctypes.c_char.from_buffer(self._content))
        for index in range(count):
            self._vectors[index].base = content + index * size
            self._vectors[index].length = size
            header = self._headers[index].header
            header.vector = ctypes.pointer(self._vectors[index])
            header.vectorLength = 1
            if isNamed:
                header.name = names + index * _ADDRESS_SIZE
                header.nameLength = _ADDRESS_SIZE

    def put(self, index: int, data: bytes) -> None:
        """
        Set one datagram.
        """
        start = index * self._size
        self._content[start : start + self._size] = data

    def mark(self, index: int, start: bytes) -> None:
        """
        Change the first bytes of one datagram.
        """
        at = index * self._size
        self._content[at : at + len(start)] = start

    def get(self, index: int) -> bytes:
        """
        Look at one datagram that was received.
        """
        start = index * self._size
        return bytes(self._content[start : start + self._headers[index].length])

    def send(self, descriptor: int, count: int) -> int:
        """
        Send the first datagrams.

        @return: How many the kernel took.
        """
        return max(0, int(_libc.sendmmsg(descriptor, self._headers, count, 0)))

    def receive(self, descriptor: int, isPatient: bool = False) -> int:
        """
        Receive what is there.

        @param isPatient: Wait for the first one.
        @return: How many came.
        """
        flags = _MSG_WAITFORONE if isPatient else socket.MSG_DONTWAIT
        count = int(_libc.recvmmsg(descriptor, self._headers, self.count, flags, None))
        if count < 0:
            error = ctypes.get_errno()
            if isPatient:
                raise OSError(error, os.strerror(error))
            return 0
        return count
