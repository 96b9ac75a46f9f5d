"""
The numbers of ICMP: those of IPv4, which the model knows, for those of IPv6, and back.

Owns: types and codes, as RFC 7915 sections 4.2 and 5.2 translate them.
Knows nothing of: what is in a message.
Driven by: L{holepunch.lab.ippacket}.
"""

from __future__ import annotations

from holepunch.nat.packet import ICMPType, UnreachableCode

#: An echo request and its reply: over IPv4 (RFC 792), over IPv6 (RFC 4443).
ECHO_REQUESTS = (8, 128)
ECHO_REPLIES = (0, 129)

_UNREACHABLE = int(ICMPType.DESTINATION_UNREACHABLE)
_TOO_BIG = int(UnreachableCode.TOO_BIG)
_TIME_EXCEEDED = int(ICMPType.TIME_EXCEEDED)
_PARAMETER_PROBLEM = 12
_ERRORS = (_UNREACHABLE, _TIME_EXCEEDED, _PARAMETER_PROBLEM)

_NO_ROUTE, _HOST, _PORT, _PROHIBITED = 0, int(UnreachableCode.HOST), int(UnreachableCode.PORT), 13
_UNREACHABLE_6 = {0: _NO_ROUTE, 1: _PROHIBITED, 3: _HOST, 4: _PORT}
_UNREACHABLE_4 = {four: six for six, four in _UNREACHABLE_6.items()}
_TYPES_6 = {3: _TIME_EXCEEDED, 4: _PARAMETER_PROBLEM}
_TYPES_4 = {four: six for six, four in _TYPES_6.items()}


def toModel(type: int, code: int, version: int) -> tuple[int, int] | None:
    """
    The type and code by which the model knows an error.

    @param version: The IP version that C{type} and C{code} belong to.
    @return: C{None}: the message is no error, or none that can be told from others.
    """
    if version == 4:
        return (type, code) if type in _ERRORS else None
    if type == 1:
        return _UNREACHABLE, _UNREACHABLE_6.get(code, _HOST)
    if type == 2:
        return _UNREACHABLE, _TOO_BIG
    return (_TYPES_6[type], code) if type in _TYPES_6 else None


def fromModel(type: int, code: int, version: int) -> tuple[int, int]:
    """
    The type and code of an error that the model made.
    """
    if version == 4:
        return type, code
    if type == _UNREACHABLE:
        return (2, 0) if code == _TOO_BIG else (1, _UNREACHABLE_4.get(code, 3))
    return _TYPES_4[type], code
