"""
The types of values that AMP commands of the main connection carry.

Owns: the wire form of each value, and the refusal of what is too large for AMP.
Knows nothing of: the commands; what the values are for.
Driven by: AMP, through L{holepunch.rendezvous.commands}.
"""

from __future__ import annotations

import abc
import base64
import enum
import math
import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from twisted.protocols import amp

from holepunch.address import TransportAddress
from holepunch.errors import HolepunchError, MalformedMessage, TooLarge
from holepunch.identity import PeerID
from holepunch.punch.candidate import Candidate
from holepunch.punch.credentials import Credentials
from holepunch.rendezvous.introduction import Ticket
from holepunch.rendezvous.relaygrant import RelayGrant
from holepunch.stun import LongTermClient

MAX_CANDIDATES = 32
MAX_TEXT = 1000
MAX_VALUE = 65535
MAX_GRANT = 4000
MAX_RELAYS = 8
# RFC 8489 sections 14.3, 14.9 and 14.10.
_GRANT_PARTS = (508, 763, 763)
_TICKET_PART = re.compile(r"[!-~]{1,256}\Z")

_T = TypeVar("_T")
_Choice = TypeVar("_Choice", bound=enum.Enum)


class _Value(abc.ABC, amp.Argument, Generic[_T]):
    """
    A value with a form as text; errors become those of L{holepunch.errors}.
    """

    limit = MAX_TEXT

    @abc.abstractmethod
    def format(self, value: _T) -> str:
        """
        Write a value.
        """

    @abc.abstractmethod
    def parse(self, text: str) -> _T:
        """
        Read a value.

        @raise ValueError: It is none.
        """

    def toString(self, inObject: _T) -> bytes:
        data = self.format(inObject).encode("utf-8")
        if len(data) > self.limit:
            raise TooLarge(f"a value of {len(data)} bytes is over the limit of {self.limit}")
        return data

    def fromString(self, inString: bytes) -> _T:
        if len(inString) > self.limit:
            raise MalformedMessage(f"a value of {len(inString)} bytes is over {self.limit}")
        try:
            return self.parse(inString.decode("utf-8"))
        except MalformedMessage:
            raise
        except (HolepunchError, ValueError) as error:
            raise MalformedMessage(f"a value makes no sense: {error}") from None


def printable(text: str) -> str:
    """
    C{text} without what would make a terminal do more than print it.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text
    )


class Text(_Value[str]):
    """
    Text of at most 1,000 bytes.
    """

    def format(self, value: str) -> str:
        return value

    def parse(self, text: str) -> str:
        return text


class Binary(_Value[bytes]):
    """
    Bytes, in base64 of at most 1,000 characters.
    """

    def format(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    def parse(self, text: str) -> bytes:
        return base64.b64decode(text.encode("ascii"), validate=True)


class ID(_Value[PeerID]):
    """
    A peer ID.
    """

    def format(self, value: PeerID) -> str:
        return value.text

    def parse(self, text: str) -> PeerID:
        return PeerID(text)


class Endpoint(_Value[TransportAddress]):
    """
    A transport address as C{host:port}.
    """

    def format(self, value: TransportAddress) -> str:
        return str(value)

    def parse(self, text: str) -> TransportAddress:
        return TransportAddress.parse(text)


class Choice(_Value[_Choice]):
    """
    A member of an enumeration, by its value.
    """

    def __init__(self, kind: type[_Choice], optional: bool = False) -> None:
        super().__init__(optional)
        self.kind = kind

    def format(self, value: _Choice) -> str:
        return str(value.value)

    def parse(self, text: str) -> _Choice:
        return self.kind(text)


class Many(_Value[Sequence[Any]]):
    """
    Values of one type, a line each.
    """

    limit = MAX_VALUE

    def __init__(
        self, element: _Value[Any], most: int = MAX_CANDIDATES, optional: bool = False
    ) -> None:
        super().__init__(optional)
        self.element = element
        self.most = most

    def format(self, value: Sequence[Any]) -> str:
        if len(value) > self.most:
            raise TooLarge(f"{len(value)} values in one message: {self.most} are the limit")
        return "\n".join(self.element.format(each) for each in value)

    def parse(self, text: str) -> tuple[Any, ...]:
        lines = text.split("\n") if text else []
        if len(lines) > self.most:
            raise MalformedMessage(f"{len(lines)} values in one message: {self.most} are the limit")
        return tuple(self.element.parse(line) for line in lines)


class CandidateText(_Value[Candidate]):
    """
    A candidate in the form of RFC 8839 section 5.1.
    """

    def format(self, value: Candidate) -> str:
        return value.format()

    def parse(self, text: str) -> Candidate:
        return Candidate.parse(text)


class Credential(_Value[Credentials]):
    """
    One side's C{ufrag:password} (RFC 8839 section 5.4).
    """

    def format(self, value: Credentials) -> str:
        return f"{value.ufrag}:{value.password}"

    def parse(self, text: str) -> Credentials:
        ufrag, colon, password = text.partition(":")
        if not colon:
            raise MalformedMessage("a credential has no password")
        return Credentials(ufrag=ufrag, password=password)


class TicketText(_Value[Ticket]):
    """
    A ticket as C{name:key:lifetime}.
    """

    def format(self, value: Ticket) -> str:
        return f"{value.name}:{value.key.decode('ascii')}:{value.lifetime:g}"

    def parse(self, text: str) -> Ticket:
        name, key, lifetime = text.split(":")
        seconds = float(lifetime)
        # What is no credential for STUN (RFC 8489 section 14.3) would be found out too late.
        if not (_TICKET_PART.match(name) and _TICKET_PART.match(key) and 0 <= seconds < math.inf):
            raise MalformedMessage("a ticket has a name or a key that cannot be used")
        return Ticket(name=name, key=key.encode("ascii"), lifetime=seconds)


class RelayGrantText(_Value[RelayGrant]):
    """
    Leave to use a relay, a line each: user name, password, realm, nonce, the lifetime in seconds,
    then the relay's addresses as URIs (RFC 7065).
    """

    limit = MAX_GRANT

    def format(self, value: RelayGrant) -> str:
        lines = (value.username, value.password, value.realm, value.nonce, f"{value.lifetime:g}")
        return "\n".join((*lines, *value.servers))

    def parse(self, text: str) -> RelayGrant:
        username, password, realm, nonce, lifetime, *servers = text.split("\n")
        if not servers or len(servers) > MAX_RELAYS:
            raise MalformedMessage("a relay has no address, or too many")
        seconds = float(lifetime)
        if not 0 < seconds < math.inf:
            raise MalformedMessage("the leave to use a relay has no lifetime")
        # As with tickets: what is no credential for STUN would be found out too late.
        lengths = [len(each.encode("utf-8")) for each in (username, realm, nonce)]
        if any(length > most for length, most in zip(lengths, _GRANT_PARTS, strict=True)):
            raise MalformedMessage("the leave to use a relay has a part that is too long")
        LongTermClient(username, password, realm or None, nonce.encode("utf-8"))
        return RelayGrant(
            username=username,
            password=password,
            realm=realm,
            nonce=nonce,
            lifetime=seconds,
            servers=tuple(servers),
        )
