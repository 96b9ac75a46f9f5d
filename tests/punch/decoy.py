"""
Strangers on the small network, who answer everything in a plausible way, but lack the credential.

Owns: the ways of a stranger to behave.
Knows nothing of: the passwords of the session that it disturbs.
Driven by: the tests about strangers.
"""

from __future__ import annotations

import enum

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.nat import Packet, Protocol
from holepunch.stun import (
    Attribute,
    AttributeType,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
    frameRfc4571,
)
from tests.punch.minitcp import MiniConnection, MiniTCP
from tests.punch.wire import Network, Wire

_WRONG_KEY = b"the password of somebody else"


class Trick(enum.Enum):
    """
    What a stranger answers.
    """

    SILENT = "nothing"
    GARBAGE = "bytes that are no message"
    WRONG_KEY = "success, with another key"
    NO_KEY = "success, without integrity"
    ECHO = "the request itself"
    ROLE_CONFLICT = "487, with another key"
    CLOSE = "the end of the connection"


@attrs.define(eq=False, kw_only=True)
class Decoy:
    """
    A stranger at an address that one peer believes to be the other.

    @ivar isForward: It also sends checks of its own, and connects, as the other peer would.
    """

    wire: Wire
    network: Network
    address: TransportAddress
    trick: Trick
    isForward: bool = True
    tcp: MiniTCP = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.network.hosts[self.address.host] = self._receive
        self.tcp = MiniTCP(self.wire, self.network, self._accepted)
        self.tcp.listening.add(self.address)

    def attack(self, victim: TransportAddress, ufrags: str, times: int = 3) -> None:
        """
        Connect to the victim's punching port, and send nominating checks, which an eavesdropper may
        know the user name of.
        """
        for number in range(times):
            self.wire.callLater(number * 0.03, lambda: self._attackOnce(victim, ufrags))

    def _attackOnce(self, victim: TransportAddress, ufrags: str) -> None:
        check = Message.request(
            Method.BINDING,
            self.wire.random.randbytes(12),
            (
                Attribute(AttributeType.USERNAME, ufrags),
                Attribute(AttributeType.PRIORITY, 0x7FFFFFFF),
                Attribute(AttributeType.ICE_CONTROLLING, (1 << 64) - 1),
                Attribute(AttributeType.USE_CANDIDATE, True),
            ),
        ).encode(integrityKey=_WRONG_KEY)
        self._send(victim, check)
        self._send(victim, b"\x40application data of a stranger")

        def made(connection: MiniConnection) -> None:
            self.tcp.write(connection, frameRfc4571(check))
            self.tcp.write(connection, b"\x16\x03\x01a stream")

        def nothing(*_: object) -> None:
            pass

        self.tcp.connect(self.address, victim, made, nothing, self._received, nothing)

    def _send(self, remote: TransportAddress, data: bytes) -> None:
        self.wire.send(self.network, Packet(Protocol.UDP, self.address, remote, payload=data))

    def _receive(self, packet: Packet) -> None:
        if packet.protocol is Protocol.TCP:
            self.tcp.receive(packet)
        elif packet.protocol is Protocol.UDP and packet.destination == self.address:
            answer = self._answer(packet.payload, packet.source)
            if answer:
                self._send(packet.source, answer)

    def _accepted(self, connection: MiniConnection) -> None:
        connection.received = self._received

    def _received(self, connection: MiniConnection, data: bytes) -> None:
        if self.trick is Trick.CLOSE:
            self.tcp.close(connection)
            return
        answer = self._answer(data[2:], connection.remote)
        if answer:
            isFramed = self.trick is not Trick.GARBAGE
            self.tcp.write(connection, frameRfc4571(answer) if isFramed else answer)

    def _answer(self, data: bytes, source: TransportAddress) -> bytes:
        try:
            request = decode(data)
        except MalformedMessage:
            return b""
        if request.messageClass is not MessageClass.REQUEST:
            return b""
        if self.trick is Trick.ECHO:
            return request.data
        if self.trick is Trick.GARBAGE:
            return b"\xff\xff" + bytes(range(60))
        if self.trick is Trick.ROLE_CONFLICT:
            return Message.error(request, 487).encode(integrityKey=_WRONG_KEY)
        if self.trick is Trick.WRONG_KEY:
            return self._success(request, source).encode(integrityKey=_WRONG_KEY)
        if self.trick is Trick.NO_KEY:
            return self._success(request, source).encode()
        return b""

    def _success(self, request: ReceivedMessage, source: TransportAddress) -> Message:
        return Message.success(request, (Attribute(AttributeType.XOR_MAPPED_ADDRESS, source),))
