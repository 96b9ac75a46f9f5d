"""
The external hosts of a NAT.

Owns: which external host an internal host gets (RFC 4787 section 4.1, I{IP address pooling}), and
the static pairs of a one-to-one NAT.
Knows nothing of: ports and mappings.
Driven by: L{holepunch.nat.device}.
"""

from __future__ import annotations

from collections.abc import Sequence

from holepunch.address import Family, TransportAddress


class AddressPool:
    """
    External hosts, given out in turn.

    @param hosts: IP literals. With none, a one-to-one NAT leaves all addresses as they are.
    @raise BadAddress: One of the C{hosts} is not an IP literal.
    """

    def __init__(self, hosts: Sequence[str], isOneToOne: bool) -> None:
        addresses = [TransportAddress(host, 0) for host in hosts]
        self.hosts = frozenset(address.host for address in addresses)
        self._families = {
            family: [address.host for address in addresses if address.family is family]
            for family in Family
        }
        self._turns = dict.fromkeys(Family, 0)
        self._isOneToOne = isOneToOne
        self._isIdentity = isOneToOne and not hosts
        self._externalOf: dict[str, str] = {}
        self._internalOf: dict[str, str] = {}

    def isOurs(self, host: str) -> bool:
        """
        Is a packet from outside to C{host} for an internal host?
        """
        return self._isIdentity or host in self.hosts

    def firstHost(self, family: Family) -> str | None:
        """
        The address under which the device itself speaks.
        """
        hosts = self._families[family]
        return hosts[0] if hosts else None

    def externalFor(self, internal: TransportAddress) -> str | None:
        """
        Choose the external host for an internal one that has none at the moment.

        @return: L{None}: there is none of its family, or (one-to-one) all are taken.
        """
        if self._isIdentity:
            return internal.host
        hosts = self._families[internal.family]
        if self._isOneToOne:
            return self._staticFor(internal.host, hosts)
        if not hosts:
            return None
        turn = self._turns[internal.family]
        self._turns[internal.family] = turn + 1
        return hosts[turn % len(hosts)]

    def internalFor(self, external: str) -> str | None:
        """
        The internal host to which a one-to-one NAT has given C{external}.
        """
        return external if self._isIdentity else self._internalOf.get(external)

    def assign(self, internal: str, external: str) -> None:
        """
        Give C{external} to C{internal} for good.
        """
        self._externalOf[internal] = external
        self._internalOf[external] = internal

    def _staticFor(self, internal: str, hosts: list[str]) -> str | None:
        known = self._externalOf.get(internal)
        if known is not None:
            return known
        # A host that has one of the external addresses already keeps it: nothing to translate.
        wishes = [internal, *hosts] if internal in hosts else hosts
        external = next((host for host in wishes if host not in self._internalOf), None)
        if external is not None:
            self.assign(internal, external)
        return external
