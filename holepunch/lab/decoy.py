"""
A stranger on a host of the lab, who accepts every TCP connection and answers every datagram.

Owns: the redirection of all ports to one, and the answers there.
Knows nothing of: the rest of txholepunch, which it does not import: it is run as a script, and has
to start fast.
Driven by: the engine, which runs C{decoy.py} as root inside the host, and waits for its one line
of output, C{ready} or what is wrong.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys

_PORT = 7
_BACKLOG = 128
_LONGEST = 65536
#: What it says to whoever connects, before it sends everything back: nothing that means anything.
_GREETING = b"\x00\x04junk"
_RULES = f"""
table inet decoy {{
    chain redirection {{
        type nat hook prerouting priority -100;
        tcp dport 1-65535 redirect to :{_PORT}
        udp dport 1-65535 redirect to :{_PORT}
    }}
}}
"""


def _redirect() -> str:
    """
    Bring all ports to one.

    @return: Why that failed; nothing if it did not.
    """
    try:
        subprocess.run(["nft", "-f", "-"], input=_RULES.encode(), check=True, capture_output=True)
    except FileNotFoundError:
        return "a decoy needs the command nft (package nftables)"
    except subprocess.CalledProcessError as error:
        return f"the kernel cannot redirect: {error.stderr.decode(errors='replace').strip()}"
    return ""


def _serve(listener: socket.socket, datagrams: socket.socket) -> None:
    selector = selectors.DefaultSelector()
    for each in (listener, datagrams):
        selector.register(each, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            try:
                if ready is listener:
                    connection, _ = listener.accept()
                    selector.register(connection, selectors.EVENT_READ)
                    connection.send(_GREETING)
                elif ready is datagrams:
                    datagrams.sendto(*datagrams.recvfrom(_LONGEST))
                elif not ready.send(ready.recv(_LONGEST)):
                    raise ConnectionResetError
            except OSError:
                # Whoever that was is gone; the two that listen stay.
                if ready not in (listener, datagrams):
                    selector.unregister(ready)
                    ready.close()


def _sockets() -> tuple[socket.socket, socket.socket]:
    """
    The two that listen, for both versions of IP where the kernel has both.
    """
    isDual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if isDual else socket.AF_INET
    listener = socket.create_server(
        ("", _PORT), family=family, backlog=_BACKLOG, dualstack_ipv6=isDual
    )
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    if isDual:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind(("", _PORT))
    return listener, datagrams


def main() -> None:
    """
    Answer everything, until killed.
    """
    reason = _redirect()
    if reason:
        print(reason, flush=True)
        return
    listener, datagrams = _sockets()
    print("ready", flush=True)
    sys.stdout.close()
    _serve(listener, datagrams)


if __name__ == "__main__":
    main()
