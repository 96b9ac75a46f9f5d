"""
STUN (RFC 8489), without I/O: messages, keys, transactions, answering and framing.
"""

from holepunch.stun.answering import Answer, BindingAnswerer
from holepunch.stun.attributes import (
    ATTRIBUTES,
    Attribute,
    AttributeCodec,
    AttributeType,
    attributeName,
)
from holepunch.stun.callback import CALL_FAILED, CallFailure
from holepunch.stun.credentials import Authenticated, LongTermClient, LongTermVerifier, ResponseFate
from holepunch.stun.framing import Rfc4571Framer, StunFramer, frameRfc4571
from holepunch.stun.integrity import HEADER_LENGTH
from holepunch.stun.message import (
    TRANSACTION_ID_LENGTH,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    decode,
    looksLikeStun,
)
from holepunch.stun.nonce import NonceMint, SecurityFeature, securityFeatures
from holepunch.stun.password import longTermKey, opaqueString, shortTermKey, userHash
from holepunch.stun.transaction import ClientTransaction
from holepunch.stun.values import (
    AddressErrorCode,
    ChangeRequest,
    ErrorCode,
    ICMPValue,
    PasswordAlgorithm,
    PasswordAlgorithmNumber,
)

__all__ = [
    "ATTRIBUTES",
    "CALL_FAILED",
    "HEADER_LENGTH",
    "TRANSACTION_ID_LENGTH",
    "AddressErrorCode",
    "Answer",
    "Attribute",
    "AttributeCodec",
    "AttributeType",
    "Authenticated",
    "BindingAnswerer",
    "CallFailure",
    "ChangeRequest",
    "ClientTransaction",
    "ErrorCode",
    "ICMPValue",
    "LongTermClient",
    "LongTermVerifier",
    "Message",
    "MessageClass",
    "Method",
    "NonceMint",
    "PasswordAlgorithm",
    "PasswordAlgorithmNumber",
    "ReceivedMessage",
    "ResponseFate",
    "Rfc4571Framer",
    "SecurityFeature",
    "StunFramer",
    "attributeName",
    "decode",
    "frameRfc4571",
    "longTermKey",
    "looksLikeStun",
    "opaqueString",
    "securityFeatures",
    "shortTermKey",
    "userHash",
]
