"""
Quantities as people write them: C{20ms}, C{1%}, C{10Mbit}.

Owns: the units.
Knows nothing of: what is measured.
Driven by: L{holepunch.lab.topologyfile}, and the options of C{holepunch lab}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from holepunch.errors import BadTopology

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+(?:e-?[0-9]+)?) *([a-z%/]*)", re.IGNORECASE)
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
_SHARES = {"": 1.0, "%": 0.01}
_RATES = {"": 1.0, "bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


def _parse(text: str, units: Mapping[str, float], expected: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        raise BadTopology(f"expected {expected}, not {text!r}")
    return float(match[1]) * units[match[2].lower()]


def parseSeconds(text: str) -> float:
    """
    Read a length of time; without a unit it is in seconds.

    @raise BadTopology: It is none.
    """
    return _parse(text, _SECONDS, "a time such as 20ms or 1.5s")


def parseShare(text: str) -> float:
    """
    Read a share of one.

    @raise BadTopology: It is none.
    """
    return _parse(text, _SHARES, "a share such as 1% or 0.01")


def parseBytes(text: str) -> int:
    """
    Read a number of bytes.

    @raise BadTopology: It is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise BadTopology(f"expected a number of bytes such as 1492, not {text!r}")
    return int(text[:9])


def parseRate(text: str) -> float:
    """
    Read bits a second.

    @raise BadTopology: That is not what it is.
    """
    return _parse(text, _RATES, "bits a second such as 10Mbit or 512kbit")
