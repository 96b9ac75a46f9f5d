"""
One network for many cells of a matrix.

Owns: which host is behind which NAT, their addresses and links, and which cells may run at once.
Knows nothing of: sessions, or which back end builds the network.
Driven by: L{holepunch.lab.matrixsimulation}, L{holepunch.lab.matrixkernel}.

Each kind of alice's side has one NAT with one host behind it, and each of bob's; a peer so meets
many others, as peers do. No two cells of one side share more than their own side's NAT, and the two
of a cell meet once by each transport: no hole is there before. Cells on one LAN have a LAN of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

from holepunch.lab.matrixgrid import Cell
from holepunch.lab.matrixkind import NATKind
from holepunch.lab.part import HostSpec, LinkSpec, NATSpec
from holepunch.lab.topology import Topology

SERVICE = "rendezvous"
WEB_PORT = 443
"""
Where the service has its main listener, on its first address, and its relay by TLS, on the second.
"""
RELAY_PORT = 3480
"""
Where its relay is on the second address over UDP and TCP.
"""
_HOME = LinkSpec(latency=0.0005)
_SERVICE_LINK = LinkSpec(latency=0.01)
_NEAREST, _FARTHEST = 0.004, 0.06


@attrs.frozen
class Place:
    """
    The hosts of a cell's peers.
    """

    alice: str
    bob: str


@attrs.frozen
class MatrixNetwork:
    """
    A topology, and where each cell is played in it.

    @ivar places: One for each cell, in the same order.
    """

    topology: Topology
    places: tuple[Place, ...]

    @classmethod
    def of(cls, cells: Sequence[Cell], seed: int | str) -> MatrixNetwork:
        """
        Build the network for some cells.

        @param seed: Draws the latency of each way to the core, from 4 to 60 ms.
        """
        building = _Building(Random(f"{seed}/links"))
        places = tuple(building.place(cell) for cell in cells)
        service = HostSpec(name=SERVICE, addresses=("5.1.0.1", "5.2.0.1"), link=_SERVICE_LINK)
        return cls(Topology((service, *building.hosts), tuple(building.nats)), places)

    @property
    def hosts(self) -> tuple[str, ...]:
        """
        The names of all peers' hosts.
        """
        return tuple(host.name for host in self.topology.hosts if host.name != SERVICE)

    def waves(self) -> list[list[int]]:
        """
        Put the cells, by their numbers, into groups in which no host occurs twice: what runs at
        once then disturbs nothing, not even the next port of a NAT.
        """
        waves: list[tuple[set[str], list[int]]] = []
        for number, place in enumerate(self.places):
            hosts = {place.alice, place.bob}
            for taken, wave in waves:
                if not taken & hosts:
                    taken |= hosts
                    wave.append(number)
                    break
            else:
                waves.append((hosts, [number]))
        return [wave for _, wave in waves]


class _Building:
    """
    A network in the making.
    """

    def __init__(self, random: Random) -> None:
        self.hosts: list[HostSpec] = []
        self.nats: list[NATSpec] = []
        self._random = random
        self._known: dict[tuple[str, NATKind], str] = {}
        self._counts = {"alice": 0, "bob": 0, "lan": 0}

    def place(self, cell: Cell) -> Place:
        if cell.bob.isSameLAN:
            return self._oneLAN(cell.alice)
        if cell.alice.isSameLAN:
            return self._oneLAN(cell.bob)
        return Place(self._host("alice", cell.alice, 1), self._host("bob", cell.bob, 2))

    def _host(self, side: str, kind: NATKind, net: int) -> str:
        known = self._known.get((side, kind))
        if known is None:
            known = self._known[side, kind] = self._newHost(side, kind, net)
        return known

    def _newHost(self, side: str, kind: NATKind, net: int) -> str:
        address, number = self._nextAddress(side, net)
        name = f"{side}-{number}"
        if kind.behaviour is None:
            self.hosts.append(HostSpec(name=name, addresses=address, link=self._wayOut()))
        else:
            nat = self._nat(f"nat-{name}", kind, address, net)
            self._inside(name, nat, f"192.168.{net}.10")
        return name

    def _oneLAN(self, kind: NATKind) -> Place:
        address, number = self._nextAddress("lan", 3)
        place = Place(f"alice-lan-{number}", f"bob-lan-{number}")
        nat = self._nat(f"nat-lan-{number}", kind, address, 3)
        self._inside(place.alice, nat, "192.168.3.10")
        self._inside(place.bob, nat, "192.168.3.20")
        return place

    def _nextAddress(self, side: str, net: int) -> tuple[str, int]:
        number = self._counts[side]
        self._counts[side] += 1
        # Two each: a one-to-one NAT has one for either host behind it.
        return f"31.{net}.{number // 100}.{1 + 2 * (number % 100)}", number

    def _nat(self, name: str, kind: NATKind, address: str, net: int) -> str:
        assert kind.behaviour is not None
        addresses: tuple[str, ...] = (address,)
        if kind.behaviour.isOneToOne:
            head, _, last = address.rpartition(".")
            addresses += (f"{head}.{int(last) + 1}",)
        self.nats.append(
            NATSpec(
                name=name,
                behaviour=kind.behaviour,
                addresses=addresses,
                inside=f"192.168.{net}.0/24",
                isKernel=kind.isKernel,
                link=self._wayOut(),
            )
        )
        return name

    def _inside(self, name: str, nat: str, address: str) -> None:
        self.hosts.append(HostSpec(name=name, addresses=address, behind=nat, link=_HOME))

    def _wayOut(self) -> LinkSpec:
        return LinkSpec(latency=self._random.uniform(_NEAREST, _FARTHEST))
