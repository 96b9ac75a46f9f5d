"""
Candidates: the transport addresses at which a peer may be reached (RFC 8445 section 5.1).

Owns: the candidate value, and its text form (RFC 8839 section 5.1, RFC 6544 section 4.5), which is
also the form on the main connection.
Knows nothing of: how candidates are gathered; what they are paired with.
Driven by: whoever gathers candidates, and L{CheckList}, which pairs them.
"""

from __future__ import annotations

import enum
import re

import attrs

from holepunch.address import Transport, TransportAddress, isUsableHost
from holepunch.errors import BadAddress, BadCandidate
from holepunch.punch.credentials import ICE_CHARACTERS


class CandidateType(enum.Enum):
    """
    How an address came to be known (RFC 8445 section 5.1.1); the value is the text on the wire.
    """

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"
    PORT_MAPPED = "portmapped"
    PREDICTED = "predicted"


class TCPType(enum.Enum):
    """
    Which side opens the connection of a TCP candidate (RFC 6544 section 4.1).
    """

    ACTIVE = "active"
    PASSIVE = "passive"
    SIMULTANEOUS_OPEN = "so"

    @property
    def mayConnect(self) -> bool:
        """
        May the side that has this candidate open a connection from it?
        """
        return self is not TCPType.PASSIVE

    @property
    def mayAccept(self) -> bool:
        """
        May the side that has this candidate accept a connection at it?
        """
        return self is not TCPType.ACTIVE


_FOUNDATION = re.compile(rf"[{ICE_CHARACTERS}]{{1,32}}\Z")
_TYPES = {kind.value: kind for kind in CandidateType}
_TRANSPORTS = {transport.value: transport for transport in Transport}
_TCP_TYPES = {kind.value: kind for kind in TCPType}
_MAXIMAL_TEXT = 512


@attrs.frozen(kw_only=True)
class Candidate:
    """
    One transport address at which a peer may be reached.

    @ivar foundation: Equal for candidates of the same type, base, transport and server.
    @ivar related: For reflexive and relayed candidates, the address that they were derived from.
    @ivar base: The local address that packets are sent from; C{None} for remote candidates, and
        where it is C{address} itself.
    @ivar isWaiting: Of a local candidate: nothing is sent from it to where nothing came from.
    """

    foundation: str = attrs.field(validator=attrs.validators.matches_re(_FOUNDATION))
    component: int = attrs.field(
        default=1, validator=(attrs.validators.ge(1), attrs.validators.le(256))
    )
    transport: Transport
    priority: int = attrs.field(validator=(attrs.validators.ge(1), attrs.validators.lt(1 << 31)))
    address: TransportAddress
    type: CandidateType
    related: TransportAddress | None = None
    tcpType: TCPType | None = None
    base: TransportAddress | None = None
    isWaiting: bool = False

    @property
    def sendingAddress(self) -> TransportAddress:
        """
        The local address to send from: the base (RFC 8445 section 4).
        """
        return self.base if self.base is not None else self.address

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """
        Read the value of a candidate attribute, with or without C{candidate:} before it.

        Unknown extension attributes are skipped, as RFC 8839 section 5.1 demands.

        @raise BadCandidate: The text is no candidate that can be used.
        """
        words = text[:_MAXIMAL_TEXT].removeprefix("candidate:").split()
        if len(words) < 8 or len(words) % 2 or words[6] != "typ" or len(text) > _MAXIMAL_TEXT:
            raise BadCandidate(f"{text[:80]!r} is not a candidate")
        extensions = dict(zip(words[8::2], words[9::2], strict=True))
        transport = _TRANSPORTS.get(words[2].lower())
        kind = _TYPES.get(words[7])
        if transport is None or kind is None:
            raise BadCandidate(
                f"candidates of transport {words[2]!r}, type {words[7]!r} are unknown"
            )
        tcpType = _TCP_TYPES.get(extensions.get("tcptype", ""))
        if (tcpType is None) is (transport is Transport.TCP):
            raise BadCandidate("a TCP candidate, and no other, has a tcptype")
        try:
            if not isUsableHost(words[4]):
                raise BadCandidate(f"{words[4]} is no address of one host")
            related = None
            if "raddr" in extensions and "rport" in extensions:
                related = TransportAddress(
                    extensions["raddr"], _parseNumber(extensions["rport"], 65535)
                )
            return cls(
                foundation=words[0],
                component=_parseNumber(words[1], 256),
                transport=transport,
                priority=_parseNumber(words[3], (1 << 31) - 1),
                address=TransportAddress(words[4], _parseNumber(words[5], 65535)),
                type=kind,
                related=related,
                tcpType=tcpType,
            )
        except BadAddress as error:
            raise BadCandidate(str(error)) from None
        except BadCandidate:
            raise
        except ValueError:
            raise BadCandidate(f"{text[:80]!r} has a field out of range") from None

    def format(self) -> str:
        """
        Write the value of a candidate attribute, without C{candidate:} before it.
        """
        words = [
            self.foundation,
            str(self.component),
            self.transport.value,
            str(self.priority),
            self.address.host,
            str(self.address.port),
            "typ",
            self.type.value,
        ]
        if self.related is not None:
            words += ["raddr", self.related.host, "rport", str(self.related.port)]
        if self.tcpType is not None:
            words += ["tcptype", self.tcpType.value]
        return " ".join(words)

    def __str__(self) -> str:
        return f"{self.type.value} {self.transport.value} {self.address}"


def _parseNumber(text: str, maximum: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise BadCandidate(f"{text[:20]!r} is not a number")
    number = int(text)
    if number > maximum:
        raise BadCandidate(f"{number} is above {maximum}")
    return number
