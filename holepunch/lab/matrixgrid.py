"""
Which pairs a matrix has: the grids by name.

Owns: the kinds of each grid and its cells; how the full one is chosen.
Knows nothing of: how a cell is tried.
Driven by: C{holepunch lab matrix} and tests.

The I{full} grid. Three mappings, filterings and port allocations make 27 classes, and all 729 pairs
of classes are cells. Within each class there are six variants: three answers to the unsolicited,
with hairpin or without. The cell in row C{i} and column C{j} has variant C{(i + j + s) mod 6} on
alice's side and C{(i + 2 j + s // 6) mod 6} on bob's, C{s} being the seed. So each of the 162
behaviours is in some cell of either side, every pair of variants is in 16 cells at least, and the
seeds 0 to 35 together make all 26,244 pairs of behaviours, each once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import attrs

from holepunch.errors import UsageError
from holepunch.lab.matrixkind import NATKind
from holepunch.nat.behaviour import (
    NAMED_BEHAVIOURS,
    Filtering,
    Mapping,
    NATBehaviour,
    PortAllocation,
    Unsolicited,
)
from holepunch.nat.presets import PRESETS

_SHORT = {
    "endpoint-independent": "EI",
    "address-dependent": "AD",
    "address-and-port-dependent": "APD",
}
VARIANTS = tuple(itertools.product(Unsolicited, (True, False)))
"""
The variants within a class of the full grid.
"""


@attrs.frozen(kw_only=True)
class Cell:
    """
    A pair of kinds.

    @ivar row: Its place in the grid; alice's kind is that of the row.
    @ivar column: Bob's.
    """

    row: int
    column: int
    alice: NATKind
    bob: NATKind

    @property
    def isAvailable(self) -> bool:
        """
        Has the product what the cell is about?
        """
        return not (self.alice.hasPortMapping or self.bob.hasPortMapping)


@attrs.frozen(kw_only=True)
class Grid:
    """
    A set of cells.

    @ivar title: For people.
    @ivar labels: Of the rows, and of the columns: they are the same.
    @ivar cells: By rows; some places may be empty.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


def _square(name: str, title: str, kinds: Sequence[NATKind]) -> Grid:
    cells = tuple(
        Cell(row=row, column=column, alice=alice, bob=bob)
        for row, alice in enumerate(kinds)
        for column, bob in enumerate(kinds)
        # On whose LAN would they be?
        if not (alice.isSameLAN and bob.isSameLAN)
    )
    return Grid(name=name, title=title, labels=tuple(kind.name for kind in kinds), cells=cells)


def _named(*names: str) -> list[NATKind]:
    return [
        NATKind(
            name=name,
            behaviour=None if name == "none" else NAMED_BEHAVIOURS[name],
            isKernel=name == "linux-masquerade",
        )
        for name in names
    ]


def _classic(seed: int) -> Grid:
    return _square(
        "classic",
        "The NATs of the lab, by their names",
        _named(
            *("none", "full-cone", "address-restricted", "port-restricted"),
            *("port-restricted-rst", "symmetric-by-address", "symmetric", "symmetric-random"),
            *("linux-masquerade", "carrier-grade", "one-to-one", "firewall"),
        ),
    )


def _reduced(seed: int) -> Grid:
    return _square(
        "reduced",
        "A kind of each class, for kernel namespaces",
        _named(
            *("none", "full-cone", "address-restricted", "port-restricted"),
            *("symmetric-random", "linux-masquerade"),
        ),
    )


def _blocked(seed: int) -> Grid:
    named = ("none", "full-cone", "port-restricted", "symmetric-random")
    blocking = ("udp-blocked", "corporate-firewall")
    return _square(
        "blocked",
        "Networks that let not everything through",
        [
            *_named(*named),
            *(NATKind(name=name, behaviour=PRESETS[name]) for name in blocking),
        ],
    )


def _iroh(seed: int) -> Grid:
    behaviours = ("none", "full-cone", "port-restricted", "symmetric-random")
    names = ("none", "endpoint-independent", "port-restricted", "symmetric random")
    return _square(
        "iroh",
        "iroh's four by four",
        [
            attrs.evolve(kind, name=name)
            for kind, name in zip(_named(*behaviours), names, strict=True)
        ],
    )


def _tailscale(seed: int) -> Grid:
    """
    The kinds, their names and their order are those of TestGrid in C{tstest/integration/nat}.
    """
    easy = NAMED_BEHAVIOURS["port-restricted"]
    hard = NAMED_BEHAVIOURS["symmetric-random"]
    return _square(
        "tailscale",
        "tailscale's seven by seven",
        [
            NATKind(name="easy", behaviour=easy),
            NATKind(name="easyAF", behaviour=NAMED_BEHAVIOURS["address-restricted"]),
            NATKind(name="hard", behaviour=hard),
            NATKind(name="easy+pm", behaviour=easy, hasPortMapping=True),
            NATKind(name="hard+pm", behaviour=hard, hasPortMapping=True),
            NATKind(name="one2one", behaviour=NAMED_BEHAVIOURS["one-to-one"]),
            NATKind(name="sameLAN", isSameLAN=True),
        ],
    )


def _full(seed: int) -> Grid:
    classes = list(itertools.product(Mapping, Filtering, PortAllocation))
    labels = tuple(
        f"{_SHORT[mapping.value]}/{_SHORT[filtering.value]} {ports.value}"
        for mapping, filtering, ports in classes
    )

    def kind(number: int, variant: int) -> NATKind:
        mapping, filtering, ports = classes[number]
        unsolicited, hairpin = VARIANTS[variant]
        suffix = f"{unsolicited.value}{', hairpin' if hairpin else ''}"
        return NATKind(
            name=f"{labels[number]} ({suffix})",
            behaviour=NATBehaviour(
                mapping=mapping,
                filtering=filtering,
                ports=ports,
                unsolicited=unsolicited,
                hairpin=hairpin,
            ),
        )

    cells = tuple(
        Cell(
            row=row,
            column=column,
            alice=kind(row, (row + column + seed) % 6),
            bob=kind(column, (row + 2 * column + seed // 6) % 6),
        )
        for row in range(len(classes))
        for column in range(len(classes))
    )
    title = "Mapping/filtering and port allocation, every pair"
    return Grid(name="full", title=title, labels=labels, cells=cells)


_GRIDS: dict[str, Callable[[int], Grid]] = {
    "full": _full,
    "classic": _classic,
    "reduced": _reduced,
    "blocked": _blocked,
    "iroh": _iroh,
    "tailscale": _tailscale,
}

GRID_NAMES = tuple(_GRIDS)
"""
The grids that there are.
"""


def makeGrid(name: str, seed: int = 0) -> Grid:
    """
    The grid of that name.

    @param seed: Chooses the variants of the full grid.
    @raise UsageError: There is none.
    """
    try:
        return _GRIDS[name](seed)
    except KeyError:
        raise UsageError(f"there is no grid {name!r}, only {', '.join(GRID_NAMES)}") from None
