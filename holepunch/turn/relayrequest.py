"""
A request to the relay that proved its user, and the ways to answer it.

Owns: the form of success and refusal, and the words for each error code (RFC 8656 section 19).
Knows nothing of: what was asked for.
Driven by: the parts of L{RelayServer<holepunch.turn.relayserver.RelayServer>}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from holepunch.stun import Attribute, Authenticated, Message, ReceivedMessage
from holepunch.turn.credential import userOf
from holepunch.turn.servereffects import FiveTuple, SendToClient

REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    446: "Connection Already Exists",
    447: "Connection Timeout or Failure",
    486: "Allocation Quota Reached",
    508: "Insufficient Capacity",
}


@attrs.frozen(kw_only=True)
class RelayRequest:
    """
    What a known user asks for.
    """

    client: FiveTuple
    message: ReceivedMessage
    authenticated: Authenticated

    @property
    def user(self) -> str:
        """
        Whose quotas it counts against.
        """
        return userOf(self.authenticated.username)

    def get(self, type: int) -> Any:
        """
        The value of the first attribute of a type, or C{None}.
        """
        return self.message.get(type)

    def success(self, attributes: Iterable[Attribute] = ()) -> SendToClient:
        """
        It was done.
        """
        return self._answer(Message.success(self.message, attributes))

    def refusal(self, code: int, attributes: Iterable[Attribute] = ()) -> SendToClient:
        """
        It was not.
        """
        return self._answer(Message.error(self.message, code, REASONS[code], attributes))

    def _answer(self, response: Message) -> SendToClient:
        data = self.authenticated.encode(response, fingerprint=self.message.hasFingerprint)
        return SendToClient(self.client, data)
