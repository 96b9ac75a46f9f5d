"""
TCP keepalive of punched connections: often enough for NATs that forget quickly.

Owns: the socket options.
Knows nothing of: sessions.
Driven by: L{holepunch.peer.punchingconnection}, on both sides of each connection.
"""

from __future__ import annotations

import socket

from twisted.internet.interfaces import ITCPTransport

# Some NATs forget after 20 s: probe every 15 s at the latest; a dead peer is noticed after 30 s.
_OPTIONS = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPALIVE", 15),  # macOS's name for it
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
)


def keepAlive(transport: ITCPTransport) -> None:
    """
    Let the kernel probe the connection when it is idle for 15 seconds.

    Options that this system lacks, and transports that are no sockets, are left as they are.
    """
    transport.setTcpKeepAlive(True)
    getHandle = getattr(transport, "getHandle", None)
    handle = getHandle() if getHandle is not None else None
    if not isinstance(handle, socket.socket):
        return
    for name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is not None:
            handle.setsockopt(socket.IPPROTO_TCP, option, value)
