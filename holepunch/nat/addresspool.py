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
from holepunch.errors import UsageError


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

        @return: C{None}: there is none of its family, or (one-to-one) all are taken.
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
        Give C{external} to C{internal} for good, before it sends anything.

        @raise UsageError: The device knows no such pairs, or C{external} is not one of its hosts or
            is taken, or C{internal} has another one.
        """
        internal, external = TransportAddress(internal, 0).host, TransportAddress(external, 0).host
        if not self._isOneToOne:
            raise UsageError("only a one-to-one device gives an address to one host for good")
        if external not in self.hosts:
            raise UsageError(f"{external} is not an external address of the device")
        if self._externalOf.get(internal, external) != external:
            raise UsageError(f"{internal} has the address {self._externalOf[internal]} already")
        if self._internalOf.get(external, internal) != internal:
            raise UsageError(f"{external} belongs to {self._internalOf[external]} already")
        self._pair(internal, external)

    def _staticFor(self, internal: str, hosts: list[str]) -> str | None:
        known = self._externalOf.get(internal)
        if known is not None:
            return known
        # A host that has one of the external addresses already keeps it: nothing to translate.
        wishes = [internal, *hosts] if internal in hosts else hosts
        external = next((host for host in wishes if host not in self._internalOf), None)
        if external is not None:
            self._pair(internal, external)
        return external

    def _pair(self, internal: str, external: str) -> None:
        self._externalOf[internal] = external
        self._internalOf[external] = internal
