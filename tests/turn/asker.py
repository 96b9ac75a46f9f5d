"""
A client of the relay that asks whatever a test wants it to ask.
"""

from __future__ import annotations

from typing import Any

from holepunch.address import Transport, TransportAddress
from holepunch.stun import (
    Attribute,
    AttributeType,
    LongTermClient,
    Message,
    Method,
    ReceivedMessage,
    ResponseFate,
    decode,
)
from holepunch.turn import EphemeralCredential, FiveTuple
from tests.turn.network import Network
from tests.turn.relay import countingBytes

T = AttributeType
UDP, TCP = 17, 6
_random = countingBytes()


class Asker:
    """
    One client, with its 5-tuple and credential.
    """

    def __init__(
        self,
        network: Network,
        user: str = "alice",
        *,
        transport: Transport = Transport.UDP,
        host: str = "203.0.113.5",
        credential: EphemeralCredential | None = None,
    ) -> None:
        self.network = network
        self.client: FiveTuple = network.fiveTuple(host, transport)
        credential = credential or network.credential(user)
        self.login = LongTermClient(credential.username, credential.password)

    def send(self, data: bytes) -> list[bytes]:
        """
        Give the relay these bytes.

        @return: What it answers.
        """
        return self.network.ask(data, self.client)

    def ask(self, method: Method, *attributes: Attribute) -> ReceivedMessage:
        """
        Ask, with the credential.
        """
        while True:
            message = Message.request(method, _random(12), attributes)
            (answer,) = self.send(self.login.encode(message))
            response = decode(answer)
            fate = self.login.receiveResponse(response)
            if fate is not ResponseFate.RETRY:
                assert fate in (ResponseFate.ACCEPTED, ResponseFate.REFUSED), fate
                return response

    def code(self, method: Method, *attributes: Attribute) -> int:
        """
        Ask.

        @return: The error code of the answer, or 0.
        """
        error = self.ask(method, *attributes).error
        return 0 if error is None else error.code

    def allocate(self, *attributes: Attribute, transport: int = UDP) -> ReceivedMessage:
        """
        Ask for an allocation.
        """
        return self.ask(Method.ALLOCATE, Attribute(T.REQUESTED_TRANSPORT, transport), *attributes)

    def permit(self, *hosts: str) -> int:
        """
        Ask for permissions.

        @return: The error code, or 0.
        """
        peers = [Attribute(T.XOR_PEER_ADDRESS, TransportAddress(host, 0)) for host in hosts]
        return self.code(Method.CREATE_PERMISSION, *peers)

    def bind(self, number: int, peer: TransportAddress) -> int:
        """
        Ask for a channel.

        @return: The error code, or 0.
        """
        return self.code(
            Method.CHANNEL_BIND,
            Attribute(T.CHANNEL_NUMBER, number),
            Attribute(T.XOR_PEER_ADDRESS, peer),
        )

    def indicate(self, peer: TransportAddress, data: bytes, *attributes: Attribute) -> None:
        """
        Send data in an indication.
        """
        message = Message.indication(
            Method.SEND,
            _random(12),
            (Attribute(T.XOR_PEER_ADDRESS, peer), Attribute(T.DATA, data), *attributes),
        )
        self.send(message.encode())


def relayedOf(response: ReceivedMessage) -> TransportAddress:
    """
    The relayed address in an answer.
    """
    address: Any = response.get(T.XOR_RELAYED_ADDRESS)
    assert isinstance(address, TransportAddress), response
    return address
