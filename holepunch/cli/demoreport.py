"""
The results of the demonstration, for people and for programs.

Owns: the table, the sentence for each act, the JSON object, the pictures.
Knows nothing of: how the results came about.
Driven by: C{holepunch demo}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from holepunch.address import Transport
from holepunch.cli.demostage import Act
from holepunch.cli.diagramsvg import renderSVG
from holepunch.cli.diagramtext import renderText
from holepunch.cli.notice import milliseconds
from holepunch.cli.sequencediagram import SequenceDiagram
from holepunch.cli.sessiondiagram import diagramSession
from holepunch.errors import BadTrace

_MEGA = 1_000_000


def sentence(act: Act) -> str:
    """
    What came of an act. Why it failed is said once, in the end.
    """
    parts = [_path(act), _use(act)] if act.connected or not act.failure else [_path(act)]
    return f"{act.transport.value.upper()}: {'; '.join(parts)}"


def _path(act: Act) -> str:
    path = act.connected
    return f"{path.path} path after {milliseconds(path.seconds)}" if path else "no path"


def _use(act: Act) -> str:
    if act.failure:
        return "it failed"
    if act.roundTrip is not None:
        return f"{len(act.roundTrips)} round trips, median {milliseconds(act.roundTrip)}"
    return f"{act.size / _MEGA:g} MB each way in {act.moved:.1f} s, checksums equal"


def table(acts: Sequence[Act]) -> Table:
    """
    A column for each act.
    """
    roundTrip = next((act.roundTrip for act in acts if act.roundTrip is not None), None)
    rows = {
        "path": [act.connected.path if act.connected else "none" for act in acts],
        "local": [str(act.connected.local) if act.connected else "" for act in acts],
        "remote": [str(act.connected.remote) if act.connected else "" for act in acts],
        "candidate": [act.connected.candidate if act.connected else "" for act in acts],
        "time to connect": [_time(act, roundTrip) for act in acts],
        "then": [_use(act) for act in acts],
    }
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("transport", style="dim", no_wrap=True)
    for act in acts:
        made.add_column(act.transport.value.upper())
    for heading, cells in rows.items():
        made.add_row(heading, *cells)
    return made


def _time(act: Act, roundTrip: float | None) -> str:
    if act.connected is None:
        return ""
    seconds = act.connected.seconds
    time = milliseconds(seconds)
    # On one LAN it is not what the time is made of.
    if roundTrip is None or roundTrip < 0.01:
        return time
    return f"{time} = {seconds / roundTrip:.1f} round trips"


def asObject(act: Act) -> dict[str, Any]:
    """
    An act for C{--json}.
    """
    path = act.connected
    return {
        "transport": act.transport,
        "path": path.path if path else None,
        "local": path.local if path else None,
        "remote": path.remote if path else None,
        "candidate": path.candidate if path else None,
        "seconds": round(path.seconds, 6) if path else None,
        "bytes": act.size or None,
        "moveSeconds": round(act.moved, 6) if act.size else None,
        "roundTrips": [round(each, 6) for each in act.roundTrips],
        "failure": act.failure or None,
    }


def diagram(acts: Sequence[Act]) -> SequenceDiagram | None:
    """
    The picture of the first session that there is something to tell of.
    """
    for act in acts:
        conclusion = ""
        if act.connected is not None and not act.failure:
            over = "TLS 1.3 over TCP" if act.transport is Transport.TCP else "UDP"
            conclusion = f"a {act.connected.path} path: {over}; {_use(act)}"
        try:
            return diagramSession(("alice", act.asking), ("bob", act.asked), conclusion)
        except BadTrace:
            continue
    return None


def show(console: Console, acts: Sequence[Act]) -> None:
    """
    Print the table and the picture.
    """
    console.print(table(acts))
    picture = diagram(acts)
    if picture is None:
        for reason in dict.fromkeys(act.failure for act in acts if act.failure):
            console.print(f"It failed: {reason}", markup=False)
    else:
        console.print(renderText(picture, console.width), soft_wrap=True)


def image(acts: Sequence[Act]) -> str | None:
    """
    The picture as an SVG file.
    """
    picture = diagram(acts)
    return renderSVG(picture) if picture is not None else None
