"""
Which addresses this machine has: the hosts of its host candidates (RFC 8445 section 5.1.1.1).

Owns: asking the system for interface addresses, and choosing the useful ones.
Knows nothing of: ports, sockets, candidates.
Driven by: L{holepunch.peer.peer.Peer}; another policy is any provider of L{IHostAddresses}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ifaddr
from zope.interface import implementer

from holepunch.address import isLoopbackHost, isUsableHost
from holepunch.errors import BadAddress, NoLocalPort
from holepunch.interfaces import IHostAddresses

_LIMIT = 8


def chooseHosts(hosts: Iterable[str], *, withLoopback: bool = False) -> tuple[str, ...]:
    """
    Keep the addresses that another machine may reach: no loopback, link-local or multicast ones.

    @param withLoopback: Keep loopback too, for a service on this very machine.
    @return: At most eight addresses, IPv4 first, in the order given.
    """
    chosen: list[str] = []
    for host in hosts:
        try:
            if not isUsableHost(host) or (isLoopbackHost(host) and not withLoopback):
                continue
        except BadAddress:
            continue
        if not host.lower().startswith(("fe80:", "169.254.")) and host not in chosen:
            chosen.append(host)
    return tuple(sorted(chosen, key=lambda host: ":" in host)[:_LIMIT])


def hostsOf(machine: IHostAddresses, *, withLoopback: bool = False) -> tuple[str, ...]:
    """
    The addresses of this machine as L{chooseHosts} keeps them.

    @raise NoLocalPort: The system does not tell; it may later.
    """
    try:
        hosts = machine.hostAddresses()
    except OSError as error:
        raise NoLocalPort(f"this machine's addresses cannot be found out: {error}") from None
    return chooseHosts(hosts, withLoopback=withLoopback)


def isLocalService(host: str) -> bool:
    """
    Is a service of that name or address on this very machine?
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return isLoopbackHost(host)
    except BadAddress:
        return False


@implementer(IHostAddresses)
class SystemHostAddresses:
    """
    The addresses of this machine's network interfaces, asked anew each time.
    """

    def hostAddresses(self) -> Sequence[str]:
        """
        All addresses of all interfaces, as IP literals.
        """
        return [
            ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            for adapter in ifaddr.get_adapters()
            for ip in adapter.ips
        ]


@implementer(IHostAddresses)
class FixedHostAddresses:
    """
    Addresses given by the program: those of a simulated host, or of one interface only.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = tuple(hosts)

    def hostAddresses(self) -> Sequence[str]:
        """
        The addresses given.
        """
        return self._hosts
