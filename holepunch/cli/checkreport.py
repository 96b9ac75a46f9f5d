"""
The report of C{holepunch check}, for programs and for people.

Owns: the keys of the JSON object, and the words and rows of the tables.
Knows nothing of: how anything is found out.
Driven by: L{holepunch.cli.check}.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from holepunch.address import Family
from holepunch.cli.checkpath import pathAsJSON, pathAsText
from holepunch.nat.behaviour import PortAllocation
from holepunch.nat.discovery import NATReport, ProtocolReport, explain
from holepunch.nat.discoveryfindings import NO_NAT
from holepunch.nat.forecast import Forecast, Outlook, Prospect, forecast
from holepunch.peer.discovery import FamilyReport, InterfaceReport


def reportAsJSON(report: NATReport) -> dict[str, Any]:
    """
    For programs; L{None} is "could not be determined".
    """
    return {
        "udp": _protocolAsJSON(report.udp, isUDP=True),
        "tcp": _protocolAsJSON(report.tcp),
        "path": pathAsJSON(report.path),
        "classic": report.classic,
        "meaning": explain(report),
        "forecast": [_forecastAsJSON(each) for each in forecast(report)],
    }


def familiesAsJSON(families: Sequence[FamilyReport]) -> dict[str, Any]:
    """
    The report of the first version of IP that works, and short ones of all that were asked.
    """
    value = next(reportAsJSON(each.report) for each in families if each.report is not None)
    value["families"] = [
        {
            "family": _FAMILIES[each.family],
            **_shortAsJSON(each.report, None if each.error is None else str(each.error)),
        }
        for each in families
    ]
    return value


def familiesAsText(families: Sequence[FamilyReport], console: Console) -> str:
    """
    The same for people; where one version of IP was asked, it is not named.
    """
    texts = []
    for each in families:
        title = f"{_FAMILIES[each.family]}:\n" if len(families) > 1 else ""
        if each.report is None:
            problem = str(each.error)
            texts.append(f"{title}{problem}{'' if problem.endswith('?') else '.'}\n")
        else:
            texts.append(title + reportAsText(each.report, console))
    return "\n".join(texts)


def _shortAsJSON(report: NATReport | None, problem: str | None) -> dict[str, Any]:
    return {
        "udp": _protocolAsJSON(report.udp, isUDP=True) if report else None,
        "tcp": _protocolAsJSON(report.tcp) if report else None,
        "path": pathAsJSON(report.path) if report else None,
        "classic": report.classic if report else None,
        "problem": problem,
    }


def interfacesAsJSON(interfaces: Iterable[InterfaceReport]) -> list[dict[str, Any]]:
    """
    What was found out from each local address, for programs.
    """
    return [{"host": each.host, **_shortAsJSON(each.report, each.problem)} for each in interfaces]


def interfacesAsText(interfaces: Iterable[InterfaceReport], console: Console) -> str:
    """
    The same for people.
    """
    table = _table("from", "seen as (UDP)", "mapping", "filtering", "classic name")
    for each in interfaces:
        if each.report is None:
            table.add_row(each.host, each.problem)
        else:
            cells = _cells(each.report.udp)
            rules = [_BREAKABLE.get(cells[key], cells[key]) for key in ("mapping", "filtering")]
            table.add_row(each.host, cells["mapped"], *rules, each.report.classic or "-")
    with console.capture() as capture:
        console.print()
        console.print(table)
    return capture.get()


def _protocolAsJSON(report: ProtocolReport, isUDP: bool = False) -> dict[str, Any]:
    values = {
        "blocked": report.isBlocked,
        "nat": report.isTranslated,
        "local": report.local,
        "mapped": report.mapped,
        "mapping": report.mapping,
        "filtering": report.filtering,
        "hairpin": report.isHairpinning,
        "ports": report.ports,
        "portStep": report.portStep,
        "portConfidence": report.portConfidence,
        "unsolicited": report.unsolicited,
        "carrierGrade": report.isBehindCarrier,
        "lifetime": report.lifetime,
    }
    missing = [key for key, value in values.items() if value is None and key != "portStep"]
    whys = dict.fromkeys(missing, report.problem or _NOT_ASKED)
    if report.mapped is not None:
        whys.update((key, why) for key, why in _USUAL_WHYS.items() if key in missing)
    if isUDP:
        whys["unsolicited"] = _TCP_ONLY
    whys.update((each.what, each.why) for each in report.undetermined)
    return {**values, "undetermined": whys, "problem": report.problem}


def _forecastAsJSON(each: Forecast) -> dict[str, Any]:
    return {
        "peer": each.kind,
        "udp": _prospectAsJSON(each.udp),
        "tcpSimultaneous": _prospectAsJSON(each.tcpSimultaneous),
        "tcpSequential": _prospectAsJSON(each.tcpSequential),
    }


def _prospectAsJSON(prospect: Prospect) -> dict[str, Any]:
    return {"outlook": prospect.outlook, "why": prospect.why}


_ROWS = {
    "blocked": "blocked",
    "nat": "NAT",
    "local": "local endpoint",
    "mapped": "mapped endpoint",
    "mapping": "mapping",
    "filtering": "filtering",
    "hairpin": "hairpin",
    "ports": "ports",
    "unsolicited": "answer to strangers",
    "carrierGrade": "carrier's NAT",
    "lifetime": "lifetime",
}

_FAMILIES = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}

_NOT_ASKED = "nobody asked"
_TCP_ONLY = "this is asked over TCP only"
_USUAL_WHYS = {
    "lifetime": "nobody asked for it by --lifetime",
    "carrierGrade": "no address of the carriers' range (100.64.0.0/10) shows",
}

# Five columns are too many for the long words; they are to be broken where they have dashes.
_BREAKABLE = {
    "endpoint-independent": "endpoint-\nindependent",
    "address-and-port-dependent": "address-and-\nport-dependent",
}

_OUTLOOKS = {
    Outlook.DIRECT: "yes",
    Outlook.GUESS: "by guessing",
    Outlook.NO: "no: relay",
    Outlook.UNKNOWN: "?",
}


def reportAsText(report: NATReport, console: Console) -> str:
    """
    For people: what is known, what is not and why, what it means, and who can be reached.

    @param console: Knows how wide the terminal is.
    """
    with console.capture() as capture:
        console.print(_findings(report))
        for line in _missing(report):
            console.print(line, markup=False, soft_wrap=True)
        for line in pathAsText(report.path):
            console.print(line, markup=False, soft_wrap=True)
        console.print()
        console.print(explain(report), markup=False, soft_wrap=True)
        console.print()
        forecasts = forecast(report)
        console.print(_forecasts(forecasts))
        if _isOpen(forecasts):
            console.print(f"{_OUTLOOKS[Outlook.UNKNOWN]}: too little is known of your NAT.")
    return capture.get()


def _findings(report: NATReport) -> Table:
    table = _table("", "UDP", "TCP")
    udp, tcp = _cells(report.udp), _cells(report.tcp)
    for key, label in _ROWS.items():
        if udp[key] != "-" or tcp[key] != "-":
            table.add_row(label, udp[key], tcp[key])
    if report.classic is not None:
        table.add_row("classic name", f"({report.classic})", "")
    return table


def _missing(report: NATReport) -> list[str]:
    """
    What could not be determined, and what is wrong with the servers.
    """
    lines: list[str] = []
    for name, protocol in (("UDP", report.udp), ("TCP", report.tcp)):
        if protocol.problem is not None:
            lines.append(f"{name}: {protocol.problem}.")
        lines += [
            f"{name}: {_ROWS[each.what]} could not be determined: {each.why}."
            for each in protocol.undetermined
            if each.why != NO_NAT
        ]
    return lines


def _forecasts(forecasts: tuple[Forecast, ...]) -> Table:
    table = _table("direct path to a peer behind", "UDP", "TCP", "TCP, sequential")
    for each in forecasts:
        prospects = (each.udp, each.tcpSimultaneous, each.tcpSequential)
        table.add_row(each.words, *(_OUTLOOKS[prospect.outlook] for prospect in prospects))
    return table


def _isOpen(forecasts: tuple[Forecast, ...]) -> bool:
    """
    Is there anything that nobody knows?
    """
    prospects = [
        prospect
        for each in forecasts
        for prospect in (each.udp, each.tcpSimultaneous, each.tcpSequential)
    ]
    return any(prospect.outlook is Outlook.UNKNOWN for prospect in prospects)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _cells(report: ProtocolReport) -> dict[str, str]:
    cells = {key: _cell(value) for key, value in _protocolAsJSON(report).items()}
    if report.ports is PortAllocation.SEQUENTIAL:
        cells["ports"] = f"sequential, by {report.portStep}"
    if report.portConfidence is not None:
        cells["ports"] += f" ({report.portConfidence:.0%} sure)"
    if report.lifetime is not None:
        cells["lifetime"] = f"about {report.lifetime:g} s"
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(getattr(value, "value", value))
