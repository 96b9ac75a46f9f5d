"""
Saying that a path is closed: a Binding indication with MESSAGE-INTEGRITY, and an attribute of ours.

The other side need not wait for its consent to run out then (RFC 7675 section 5.1 has no message
for it, so that an agent which does not know ours merely waits).

Owns: the message.
Knows nothing of: paths.
Driven by: L{PairProof} and the peer's driver.
"""

from __future__ import annotations

from collections.abc import Callable

from holepunch.errors import MalformedMessage
from holepunch.punch.credentials import Credentials
from holepunch.stun import (
    Attribute,
    AttributeType,
    Message,
    MessageClass,
    Method,
    decode,
    shortTermKey,
)

GOODBYE = 0xFB1E
_BINDING_INDICATION = b"\x00\x11"


def buildGoodbye(
    local: Credentials, remote: Credentials, randomBytes: Callable[[int], bytes]
) -> bytes:
    """
    Say goodbye to the side that has the credentials C{remote}.
    """
    attributes = (
        Attribute(AttributeType.USERNAME, f"{remote.ufrag}:{local.ufrag}"),
        Attribute(GOODBYE, b""),
    )
    message = Message.indication(Method.BINDING, randomBytes(12), attributes)
    return message.encode(integrityKey=shortTermKey(remote.password))


def isGoodbye(data: bytes, local: Credentials, remote: Credentials) -> bool:
    """
    Does the side that has the credentials C{remote} say goodbye to us, who have C{local}?
    """
    if not data.startswith(_BINDING_INDICATION):
        return False
    try:
        message = decode(data)
    except MalformedMessage:
        return False
    return (
        message.messageClass is MessageClass.INDICATION
        and message.get(GOODBYE) is not None
        and message.get(AttributeType.USERNAME) == f"{local.ufrag}:{remote.ufrag}"
        and message.isIntegrityValid(shortTermKey(local.password))
    )
