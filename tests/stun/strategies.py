"""
What hypothesis makes STUN messages from: a strategy for the value of every attribute.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from holepunch.address import TransportAddress
from holepunch.stun import (
    ATTRIBUTES,
    AddressErrorCode,
    Attribute,
    AttributeType,
    ChangeRequest,
    ErrorCode,
    ICMPValue,
    Message,
    MessageClass,
    PasswordAlgorithm,
)

#: The same examples in every run, and no time limit on a machine that others use too.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

T = AttributeType


def uints(bits: int) -> st.SearchStrategy[int]:
    """
    Every number of C{bits} bits.
    """
    return st.integers(0, (1 << bits) - 1)


def addresses() -> st.SearchStrategy[TransportAddress]:
    """
    Transport addresses of both families.
    """
    return st.builds(TransportAddress, st.ip_addresses().map(str), uints(16))


errorCodes = st.builds(ErrorCode, st.integers(300, 699), st.text(max_size=60))
algorithms = st.builds(PasswordAlgorithm, uints(16), st.binary(max_size=12))
texts = st.text(max_size=60)
flags = st.just(True)

VALUES: dict[AttributeType, st.SearchStrategy[Any]] = {
    T.MAPPED_ADDRESS: addresses(),
    T.CHANGE_REQUEST: st.sampled_from([ChangeRequest(bits) for bits in (0, 2, 4, 6)]),
    T.USERNAME: texts,
    T.MESSAGE_INTEGRITY: st.binary(min_size=20, max_size=20),
    T.ERROR_CODE: errorCodes,
    T.UNKNOWN_ATTRIBUTES: st.lists(uints(16), max_size=20).map(tuple),
    T.CHANNEL_NUMBER: uints(16),
    T.LIFETIME: uints(32),
    T.XOR_PEER_ADDRESS: addresses(),
    T.DATA: st.binary(max_size=100),
    T.REALM: texts,
    T.NONCE: st.binary(max_size=100),
    T.XOR_RELAYED_ADDRESS: addresses(),
    T.REQUESTED_ADDRESS_FAMILY: uints(8),
    T.EVEN_PORT: st.booleans(),
    T.REQUESTED_TRANSPORT: uints(8),
    T.DONT_FRAGMENT: flags,
    T.ACCESS_TOKEN: st.binary(max_size=100),
    T.MESSAGE_INTEGRITY_SHA256: st.sampled_from([bytes(size) for size in (16, 20, 24, 28, 32)]),
    T.PASSWORD_ALGORITHM: algorithms,
    T.USERHASH: st.binary(min_size=32, max_size=32),
    T.XOR_MAPPED_ADDRESS: addresses(),
    T.RESERVATION_TOKEN: st.binary(min_size=8, max_size=8),
    T.PRIORITY: uints(32),
    T.USE_CANDIDATE: flags,
    T.PADDING: st.binary(max_size=100),
    T.RESPONSE_PORT: uints(16),
    T.CONNECTION_ID: uints(32),
    T.ADDITIONAL_ADDRESS_FAMILY: uints(8),
    T.ADDRESS_ERROR_CODE: st.builds(AddressErrorCode, uints(8), errorCodes),
    T.PASSWORD_ALGORITHMS: st.lists(algorithms, max_size=4).map(tuple),
    T.ALTERNATE_DOMAIN: texts,
    T.ICMP: st.builds(ICMPValue, type=uints(7), code=uints(9), data=uints(32)),
    T.SOFTWARE: texts,
    T.ALTERNATE_SERVER: addresses(),
    T.CACHE_TIMEOUT: uints(32),
    T.FINGERPRINT: uints(32),
    T.ICE_CONTROLLED: uints(64),
    T.ICE_CONTROLLING: uints(64),
    T.RESPONSE_ORIGIN: addresses(),
    T.OTHER_ADDRESS: addresses(),
    T.THIRD_PARTY_AUTHORIZATION: texts,
}

transactionIds = st.binary(min_size=12, max_size=12)

#: Attributes that no table knows.
unknownAttributes = st.builds(
    Attribute, uints(16).filter(lambda type: type not in ATTRIBUTES), st.binary(max_size=20)
)


def attributes() -> st.SearchStrategy[Attribute]:
    """
    Any attribute that L{Message} takes, known or not.
    """
    added = (T.MESSAGE_INTEGRITY, T.MESSAGE_INTEGRITY_SHA256, T.FINGERPRINT)
    known = [
        st.builds(Attribute, st.just(type), values)
        for type, values in VALUES.items()
        if type not in added
    ]
    return st.one_of(*known, unknownAttributes)


def messages() -> st.SearchStrategy[Message]:
    """
    Messages of every method and class.
    """
    return st.builds(
        Message,
        method=uints(12),
        messageClass=st.sampled_from(MessageClass),
        transactionId=transactionIds,
        attributes=st.lists(attributes(), max_size=8),
    )
