"""
The bytes that docs/protocol.md shows are the ones that the code sends.

C{python -m tests.test_protocol_document} writes them into the document anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.identity import Identity
from holepunch.peer.assist import AssistClient
from holepunch.peer.signalling import Description, TextSignalling
from holepunch.punch import Candidate, CandidateType, Credentials, gatheredCandidate
from holepunch.punch.checks import Authenticator
from holepunch.punch.role import Role
from holepunch.rendezvous import RendezvousClient, ServiceLocation
from holepunch.rendezvous.invitation import Greeting, InvitationCode, InvitationExchange
from holepunch.rendezvous.scram import Cost, LoginExchange, StoredPassword, saltPassword
from holepunch.rendezvous.tickets import TicketBook, TicketHolder
from holepunch.stun import AttributeType, BindingAnswerer, frameRfc4571

DOCUMENT = Path(__file__).parents[1] / "docs" / "protocol.md"

ALICE = TransportAddress("192.168.1.10", 40001)
ALICE_MAPPED = TransportAddress("203.0.113.5", 40001)
BOB = TransportAddress("198.51.100.7", 40002)
ASSIST = TransportAddress("192.0.2.1", 3478)

Row = tuple[bytes, str]


def fixedRandom(seed: str) -> Callable[[int], bytes]:
    """
    A source of random bytes that gives the same ones each time.
    """
    count = iter(range(1 << 30))
    return lambda size: hashlib.shake_128(f"{seed} {next(count)}".encode()).digest(size)


def hostCandidate(transport: Transport) -> Candidate:
    return gatheredCandidate(CandidateType.HOST, transport, ALICE)


def ticketOf(book: TicketBook) -> Any:
    return book.issue(TicketHolder(connection=1), now=0.0)


# --- the bytes ------------------------------------------------------------------------------------


def registerBox() -> bytes:
    """
    What a peer sends first over its main connection.
    """
    events: Any = object()
    client = RendezvousClient(Clock(), ServiceLocation("192.0.2.1"), events, None)
    transport = StringTransport(IPv4Address("TCP", ALICE.host, ALICE.port))
    client.makeConnection(transport)
    client.register(
        name="alice", candidates=[hostCandidate(Transport.TCP), hostCandidate(Transport.UDP)]
    )
    sent: bytes = transport.value()
    client.close()
    return sent


class _Socket:
    """
    A UDP socket that keeps what is sent.
    """

    base = ALICE

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def addRoute(self, remote: TransportAddress, sink: object) -> None:
        pass

    def send(self, remote: TransportAddress, data: bytes) -> None:
        self.sent.append(data)


class _Ports:
    def __init__(self) -> None:
        self.socket = _Socket()

    def datagramPorts(self) -> tuple[_Socket, ...]:
        return (self.socket,)


def assistRequest() -> bytes:
    """
    What a peer asks an assist listener, with its ticket.
    """
    ports: Any = _Ports()
    ticket = ticketOf(TicketBook(fixedRandom("ticket")))
    client = AssistClient(
        Clock(), ports, [ASSIST], ticket, fixedRandom("assist"), lambda *mapped: None
    )
    client.askByUDP()
    sent: bytes = ports.socket.sent[0]
    return sent


def assistAnswer() -> bytes:
    """
    What the assist listener answers.
    """
    book = TicketBook(fixedRandom("ticket"))
    ticketOf(book)
    answerer = BindingAnswerer([ASSIST], lambda username: book.keyFor(username, 0.0))
    answer = answerer.answer(assistRequest(), ALICE_MAPPED, ASSIST)
    assert answer is not None
    return answer.data


def nominatingCheck() -> bytes:
    """
    What the controlling side sends over a connection that it wants to keep.
    """
    random = fixedRandom("check")
    local, remote = Credentials.generate(random), Credentials.generate(random)
    tieBreaker = int.from_bytes(random(8), "big")
    authenticator = Authenticator(local, Role(True, tieBreaker), random)
    authenticator.setRemote(remote)
    built = authenticator.build(hostCandidate(Transport.TCP), isNominating=True)
    return frameRfc4571(built.data)


# --- taking them apart ----------------------------------------------------------------------------


def ampRows(data: bytes) -> Iterator[Row]:
    while data[:2] != b"\0\0":
        key = data[: 2 + int.from_bytes(data[:2], "big")]
        data = data[len(key) :]
        value = data[: 2 + int.from_bytes(data[:2], "big")]
        data = data[len(value) :]
        yield key, f"key {key[2:].decode()}"
        yield value, _quoted(value[2:])
    yield data, "the end of the box"


def stunRows(data: bytes) -> Iterator[Row]:
    kinds = {b"\x00\x01": "Binding request", b"\x01\x01": "Binding success response"}
    yield data[:2], kinds[data[:2]]
    yield data[2:4], f"{int.from_bytes(data[2:4], 'big')} bytes of attributes"
    yield data[4:8], "magic cookie"
    yield data[8:20], "transaction ID"
    rest = data[20:]
    while rest:
        kind = AttributeType(int.from_bytes(rest[:2], "big"))
        length = int.from_bytes(rest[2:4], "big")
        yield rest[:4], f"{kind.name.replace('_', '-')}, {length} bytes"
        padded = rest[4 : 4 + (length + 3) // 4 * 4]
        if padded:
            yield padded, _meaning(kind, padded[:length])
        rest = rest[4 + len(padded) :]


def frameRows(data: bytes) -> Iterator[Row]:
    yield data[:2], f"a frame of {int.from_bytes(data[:2], 'big')} bytes (RFC 4571)"
    yield from stunRows(data[2:])


def _meaning(kind: AttributeType, value: bytes) -> str:
    if kind is AttributeType.USERNAME:
        padding = ", then padding" if len(value) % 4 else ""
        return f"{_quoted(value)}{padding}"
    if kind is AttributeType.XOR_MAPPED_ADDRESS:
        return f"{ALICE_MAPPED}, each byte XORed with the cookie"
    if kind is AttributeType.PRIORITY:
        return f"{int.from_bytes(value, 'big')}: this candidate, were it peer-reflexive"
    return {
        AttributeType.MESSAGE_INTEGRITY: "HMAC-SHA1",
        AttributeType.FINGERPRINT: "CRC-32, XORed with 5354554e",
        AttributeType.ICE_CONTROLLING: "tie-breaker",
    }[kind]


def _quoted(value: bytes) -> str:
    return f'"{value.decode()}"'


# --- putting them into the document ---------------------------------------------------------------


def render(rows: Iterator[Row]) -> str:
    """
    Hex on the left, sixteen bytes a line; what it is on the right.
    """
    lines = []
    for data, meaning in rows:
        chunks = [data[start : start + 16].hex(" ") for start in range(0, len(data), 16)]
        for chunk, words in zip_longest(chunks, meaning.split("\n"), fillvalue=""):
            lines.append(f"{chunk:<47}  {words}".rstrip())
    return "\n".join(lines)


def examples() -> dict[str, str]:
    """
    Each example of the document, by its name there.
    """
    book = TicketBook(fixedRandom("ticket"))
    ticket = ticketOf(book)
    random = fixedRandom("check")
    local, remote = Credentials.generate(random), Credentials.generate(random)
    return {
        "register": render(ampRows(registerBox())),
        "ticket": f"{ticket.name}:{ticket.key.decode()}:{ticket.lifetime:g}",
        "assist request": render(stunRows(assistRequest())),
        "assist answer": render(stunRows(assistAnswer())),
        "credentials": f"local              {local.ufrag}:{local.password}\n"
        f"remoteCredentials  {remote.ufrag}:{remote.password}",
        "nominating check": render(frameRows(nominatingCheck())),
        "login": login(),
        "invitation": invitation(),
        "description": description(),
        "peer ID": Identity(Ed25519PrivateKey.from_private_bytes(bytes(32))).peerID.text,
    }


def login() -> str:
    """
    What both sides of a login compute.
    """
    salt, cost = bytes(range(16)), Cost(logN=14, r=8, p=1)
    exchange = LoginExchange(
        user="alice",
        clientNonce="c" * 24,
        nonce="c" * 24 + "s" * 24,
        salt=salt,
        cost=cost,
        binding=bytes(32),
    )
    salted = saltPassword("secret", salt, cost)
    stored = StoredPassword.derive(salted, salt, cost)
    return "\n".join(
        (
            f"salted     {salted.hex()}",
            f"stored     {stored.storedKey.hex()}",
            f"server     {stored.serverKey.hex()}",
            f"proof      {exchange.prove(salted).hex()}",
            f"signature  {stored.sign(exchange.message).hex()}",
        )
    )


def invitation() -> str:
    """
    What the two sides of an invitation say.
    """
    code = InvitationCode.parse("7-crossword-atlas")
    inviting = InvitationExchange(code, True, lambda size: b"\x01" * size)
    accepting = InvitationExchange(code, False, lambda size: b"\x02" * size)
    inviting.receiveHalf(accepting.half)
    accepting.receiveHalf(inviting.half)
    identity = Identity(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    sealed = inviting.seal(Greeting(peerID=identity.peerID, name="alice"))
    if accepting.open(sealed).peerID != identity.peerID:
        raise ValueError("the two sides do not understand each other")
    lines = (sealed.hex()[start : start + 80] for start in range(0, 2 * len(sealed), 80))
    return "\n".join(
        (
            f"half of the accepting side  {accepting.half.hex()}",
            f"half of the inviting side   {inviting.half.hex()}",
            "the inviting side's greeting: the ID above, the name alice, and to connect",
            *lines,
        )
    )


def description() -> str:
    """
    What alice says over a channel, where there is no service.
    """
    identity = Identity(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    other = Identity(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
    written: list[str] = []
    signalling = TextSignalling(identity.peerID, other.peerID, written.append)
    mapped = gatheredCandidate(
        CandidateType.SERVER_REFLEXIVE, Transport.UDP, ALICE_MAPPED, base=ALICE, server=ASSIST.host
    )
    signalling.send(
        Description(
            peerID=identity.peerID,
            credentials=Credentials.generate(fixedRandom("description")),
            transports=tuple(Transport),
            candidates=(*(hostCandidate(each) for each in Transport), mapped),
        )
    )
    return written[0]


def filled(document: str) -> str:
    """
    The document with all its examples made anew.
    """
    known = examples()

    def block(match: re.Match[str]) -> str:
        return f"<!-- example: {match[1]} -->\n```\n{known.pop(match[1])}\n```\n"

    document = re.sub(r"<!-- example: ([a-zA-Z ]+) -->\n```\n.*?```\n", block, document, flags=re.S)
    if known:
        raise ValueError(f"the document lacks {', '.join(known)}")
    return document


class ProtocolDocument(SynchronousTestCase):
    """
    docs/protocol.md and the code agree.
    """

    def test_examples(self) -> None:
        """
        Every byte of the document's examples is what the code makes of the same keys.
        """
        document = DOCUMENT.read_text("utf-8")
        self.assertEqual(filled(document).splitlines(), document.splitlines())


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text("utf-8")), "utf-8")
