"""
Connectivity checks as messages: building them, and judging what arrives (RFC 8445 sections 7.1 to
7.3).

Owns: USERNAME, the keys, and which attributes a check must have.
Knows nothing of: pairs; sockets; retransmission; what follows from a check.
Driven by: L{DatagramChecks} and L{StreamChecks}.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.punch.candidate import Candidate
from holepunch.punch.credentials import Credentials
from holepunch.punch.priority import reflexivePriority
from holepunch.punch.role import Role
from holepunch.stun import (
    Attribute,
    AttributeType,
    Message,
    MessageClass,
    Method,
    ReceivedMessage,
    shortTermKey,
)

ROLE_CONFLICT = 487
UNKNOWN_ATTRIBUTE = 420


@attrs.frozen(kw_only=True)
class BuiltCheck:
    """
    A check that is ready to be sent.

    @ivar wasControlling: The role in which it was built, for the case of a 487 response.
    """

    transactionId: bytes
    data: bytes
    isNominating: bool
    wasControlling: bool


@attrs.frozen(kw_only=True)
class ReceivedCheck:
    """
    A check of the other side whose integrity is proven.

    @ivar priority: What a peer-reflexive candidate learned from this check has (RFC 8445 section
        7.3.1.3).
    @ivar remoteTieBreaker: C{None} where the check claims no role.
    """

    message: ReceivedMessage
    remoteUfrag: str
    priority: int
    isNominating: bool
    isFromControlling: bool
    remoteTieBreaker: int | None


class Authenticator:
    """
    Builds checks for the other side and recognises its own.
    """

    def __init__(
        self,
        local: Credentials,
        role: Role,
        randomBytes: Callable[[int], bytes],
        preferredTransport: Transport = Transport.TCP,
    ) -> None:
        self._local = local
        self._localKey = shortTermKey(local.password)
        self._remote: Credentials | None = None
        self._remoteKey = b""
        self._role = role
        self._randomBytes = randomBytes
        self._preferredTransport = preferredTransport

    @property
    def remote(self) -> Credentials | None:
        """
        The other side's credentials, as soon as they are known.
        """
        return self._remote

    def setRemote(self, remote: Credentials) -> None:
        """
        From now on, checks can be built and their responses judged.
        """
        self._remote = remote
        self._remoteKey = shortTermKey(remote.password)

    def build(self, local: Candidate, isNominating: bool = False) -> BuiltCheck:
        """
        Build a check that leaves from C{local} (RFC 8445 sections 7.1 and 7.2.2).

        The remote credentials must be known.
        """
        assert self._remote is not None
        role = self._role
        attributes = [
            Attribute(AttributeType.USERNAME, f"{self._remote.ufrag}:{self._local.ufrag}"),
            Attribute(AttributeType.PRIORITY, reflexivePriority(local, self._preferredTransport)),
            Attribute(
                AttributeType.ICE_CONTROLLING
                if role.isControlling
                else AttributeType.ICE_CONTROLLED,
                role.tieBreaker,
            ),
        ]
        if isNominating:
            attributes.append(Attribute(AttributeType.USE_CANDIDATE, True))
        transactionId = self._randomBytes(12)
        return BuiltCheck(
            transactionId=transactionId,
            data=Message.request(Method.BINDING, transactionId, attributes).encode(
                integrityKey=self._remoteKey
            ),
            isNominating=isNominating,
            wasControlling=role.isControlling,
        )

    def readRequest(self, message: ReceivedMessage) -> ReceivedCheck | None:
        """
        Judge a request that arrived.

        @return: C{None} unless it is a check for this session, made by somebody who knows the
            local password.
        """
        if message.method != Method.BINDING or message.messageClass is not MessageClass.REQUEST:
            return None
        username = message.get(AttributeType.USERNAME)
        priority = message.get(AttributeType.PRIORITY)
        if username is None or not priority or not message.isIntegrityValid(self._localKey):
            return None
        localUfrag, _, remoteUfrag = username.partition(":")
        if localUfrag != self._local.ufrag:
            return None
        if self._remote is not None and remoteUfrag != self._remote.ufrag:
            return None
        controlling = message.get(AttributeType.ICE_CONTROLLING)
        controlled = message.get(AttributeType.ICE_CONTROLLED)
        return ReceivedCheck(
            message=message,
            remoteUfrag=remoteUfrag,
            priority=min(priority, (1 << 31) - 1),
            isNominating=message.get(AttributeType.USE_CANDIDATE) is not None,
            isFromControlling=controlling is not None,
            remoteTieBreaker=controlling if controlling is not None else controlled,
        )

    def isAuthenticResponse(self, message: ReceivedMessage) -> bool:
        """
        Was a response made by somebody who knows the remote password?
        """
        return self._remote is not None and message.isIntegrityValid(self._remoteKey)

    def buildSuccess(self, request: ReceivedCheck, source: TransportAddress) -> bytes:
        """
        Answer a check with the address that it came from (RFC 8445 section 7.3.1.2).
        """
        mapped = Attribute(AttributeType.XOR_MAPPED_ADDRESS, source)
        return Message.success(request.message, (mapped,)).encode(integrityKey=self._localKey)

    def buildRoleConflict(self, request: ReceivedCheck) -> bytes:
        """
        Answer a check whose sender must change its role (RFC 8445 section 7.3.1.1).
        """
        answer = Message.error(request.message, ROLE_CONFLICT, "Role Conflict")
        return answer.encode(integrityKey=self._localKey)

    def buildUnknownAttributes(self, request: ReceivedCheck) -> bytes:
        """
        Answer a check that demands what we do not know (RFC 8489 section 6.3.1).
        """
        unknown = Attribute(AttributeType.UNKNOWN_ATTRIBUTES, request.message.unknownRequired)
        answer = Message.error(request.message, UNKNOWN_ATTRIBUTE, "Unknown Attribute", (unknown,))
        return answer.encode(integrityKey=self._localKey)
