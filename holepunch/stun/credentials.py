"""
The long-term credential mechanism, the client's side and the server's (RFC 8489 section 9.2).

Owns: the challenge and the answer to it, the choice of the password algorithm, and the checks that
keep an attacker on the way from talking the two sides into a weaker one (section 9.2.1).
Knows nothing of: where passwords are stored; transactions; what a request asks for.
Driven by: the client of a relay; a server that wants its users to log in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import BadCredentials
from holepunch.stun.attributes import Attribute, AttributeType
from holepunch.stun.message import Message, MessageClass, ReceivedMessage
from holepunch.stun.nonce import NonceMint, SecurityFeature, securityFeatures
from holepunch.stun.password import longTermKey, opaqueString, userHash
from holepunch.stun.values import PasswordAlgorithm, PasswordAlgorithmNumber

# How often a server may ask again before anything succeeded.
_CHALLENGE_LIMIT = 4
# How many bytes of PASSWORD-ALGORITHMS we are ready to repeat in each request.
_ALGORITHMS_LIMIT = 512

_SUPPORTED = frozenset(PasswordAlgorithmNumber)


# --- the client's side --------------------------------------------------------------------------


class ResponseFate(enum.Enum):
    """
    What a client does with a response.
    """

    #: It is authentic, or the server asks for no credential.
    ACCEPTED = "accepted"
    #: Send the request again, with a new transaction ID and encoded anew.
    RETRY = "retry"
    #: As if it had never come. Over TCP, where no other will come: the transaction has failed.
    IGNORED = "ignored"
    #: The credential is wrong, or the server tries to make us use a weaker algorithm: give up.
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class _Challenge:
    """
    What a server demanded, and the key that fits.
    """

    realm: str
    nonce: bytes
    algorithms: tuple[PasswordAlgorithm, ...]
    chosen: PasswordAlgorithm | None
    key: bytes = attrs.field(repr=False)

    @property
    def features(self) -> SecurityFeature:
        return securityFeatures(self.nonce) or SecurityFeature(0)


class LongTermClient:
    """
    One user's long-term credential towards one server.

    Encode each request with L{encode}, and ask L{receiveResponse} about each response to it.
    """

    def __init__(
        self,
        username: str,
        password: str,
        realm: str | None = None,
        nonce: bytes | None = None,
    ) -> None:
        """
        @param realm: What the server was heard to ask for in another way; with C{nonce} the first
            request carries the credential already. It is made with MD5: which algorithms the
            server offers is not known before it asks.
        @param nonce: The server's, as C{realm}.
        @raise BadCredentials: See L{opaqueString}.
        """
        self._username = opaqueString(username)
        self._password = opaqueString(password)
        self._challenge: _Challenge | None = None
        self._challengeCount = 0
        if realm is not None and nonce is not None:
            key = longTermKey(username, realm, password)
            self._challenge = _Challenge(
                realm=realm, nonce=nonce, algorithms=(), chosen=None, key=key
            )

    def renewed(self, username: str, password: str) -> LongTermClient:
        """
        Another credential of the same user, towards the same server, which need not ask again.

        @raise BadCredentials: See L{opaqueString}.
        """
        fresh = LongTermClient(username, password)
        challenge = self._challenge
        if challenge is not None:
            number = PasswordAlgorithmNumber.MD5
            if challenge.chosen is not None:
                number = PasswordAlgorithmNumber(challenge.chosen.number)
            key = longTermKey(username, challenge.realm, password, number)
            fresh._challenge = attrs.evolve(challenge, key=key)
        return fresh

    def encode(self, request: Message, fingerprint: bool = True) -> bytes:
        """
        The bytes of C{request}, with the credential as soon as the server has asked for it.
        """
        challenge = self._challenge
        if challenge is None:
            return request.encode(fingerprint=fingerprint)
        if challenge.features & SecurityFeature.USERNAME_ANONYMITY:
            who = Attribute(AttributeType.USERHASH, userHash(self._username, challenge.realm))
        else:
            who = Attribute(AttributeType.USERNAME, self._username)
        added = [
            who,
            Attribute(AttributeType.REALM, challenge.realm),
            Attribute(AttributeType.NONCE, challenge.nonce),
        ]
        if challenge.chosen is not None:
            added.append(Attribute(AttributeType.PASSWORD_ALGORITHMS, challenge.algorithms))
            added.append(Attribute(AttributeType.PASSWORD_ALGORITHM, challenge.chosen))
        return attrs.evolve(request, attributes=(*request.attributes, *added)).encode(
            challenge.key, sha256=challenge.chosen is not None, fingerprint=fingerprint
        )

    def receiveResponse(self, response: ReceivedMessage) -> ResponseFate:
        """
        Judge the response to the request that was encoded last (section 9.2.5).
        """
        code = response.error.code if response.error is not None else None
        if response.messageClass is MessageClass.ERROR and code in (401, 438):
            return self._receiveChallenge(response, isStale=code == 438)
        if _isStripped(response):
            return ResponseFate.IGNORED
        if self._challenge is None:
            return ResponseFate.ACCEPTED
        if not response.isIntegrityValid(
            self._challenge.key, requireSHA256=self._challenge.chosen is not None
        ):
            return ResponseFate.IGNORED
        self._challengeCount = 0
        return ResponseFate.ACCEPTED

    def _receiveChallenge(self, response: ReceivedMessage, isStale: bool) -> ResponseFate:
        before = self._challenge
        realm = response.get(AttributeType.REALM)
        nonce = response.get(AttributeType.NONCE)
        if realm is None and isStale and before is not None:
            realm = before.realm
        if realm is None or nonce is None or _isStripped(response):
            return ResponseFate.REFUSED
        algorithms = response.get(AttributeType.PASSWORD_ALGORITHMS) or ()
        chosen = next((item for item in algorithms if item.number in _SUPPORTED), None)
        if algorithms and chosen is None:
            return ResponseFate.REFUSED
        if sum(4 + len(item.parameters) for item in algorithms) > _ALGORITHMS_LIMIT:
            return ResponseFate.REFUSED
        number = PasswordAlgorithmNumber.MD5 if chosen is None else chosen.number
        try:
            key = longTermKey(self._username, realm, self._password, number)
        except BadCredentials:
            # The realm is the server's, and no text that could be one.
            return ResponseFate.REFUSED
        challenge = _Challenge(
            realm=realm, nonce=nonce, algorithms=algorithms, chosen=chosen, key=key
        )
        self._challengeCount += 1
        if self._challengeCount > _CHALLENGE_LIMIT:
            return ResponseFate.REFUSED
        if before is not None:
            if not isStale and before.realm == realm:
                return ResponseFate.REFUSED
            if before.features & ~challenge.features:
                # The server had these features a moment ago: somebody has taken them out.
                return ResponseFate.REFUSED
        self._challenge = challenge
        return ResponseFate.RETRY


def _isStripped(response: ReceivedMessage) -> bool:
    """
    Has somebody removed the PASSWORD-ALGORITHMS that the nonce announces (section 9.2.5)?
    """
    features = securityFeatures(response.get(AttributeType.NONCE) or b"") or 0
    return bool(
        features & SecurityFeature.PASSWORD_ALGORITHMS
        and response.get(AttributeType.PASSWORD_ALGORITHMS) is None
    )


# --- the server's side --------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Authenticated:
    """
    A request that proved its user.

    @ivar key: Protects the response.
    @ivar isSHA256: With MESSAGE-INTEGRITY-SHA256 rather than MESSAGE-INTEGRITY.
    """

    username: str
    key: bytes = attrs.field(repr=False)
    isSHA256: bool

    def encode(self, response: Message, fingerprint: bool = True) -> bytes:
        """
        The bytes of the response to that request.
        """
        return response.encode(self.key, sha256=self.isSHA256, fingerprint=fingerprint)


class LongTermVerifier:
    """
    The server's side of the long-term credential.
    """

    def __init__(
        self,
        realm: str,
        keyFor: Callable[[str, PasswordAlgorithmNumber], bytes | None],
        secret: bytes,
        algorithms: Sequence[PasswordAlgorithmNumber] = (
            PasswordAlgorithmNumber.SHA256,
            PasswordAlgorithmNumber.MD5,
        ),
        usernameFor: Callable[[bytes], str | None] | None = None,
        nonceLifetime: float = 600.0,
        isTerse: bool = False,
    ) -> None:
        """
        @param realm: Usually the domain name of the service.
        @param keyFor: From a user name and an algorithm to what L{longTermKey} made of the
            password; C{None} for unknown users.
        @param secret: At least 16 random bytes, for the nonces.
        @param algorithms: Best first. Without MD5, clients of RFC 5389 are locked out.
        @param usernameFor: From a L{userHash} to the user name; given, clients hide their names.
        @param nonceLifetime: Seconds after which a client is made to take a new nonce.
        @param isTerse: Refusals carry no words: they go to sources that may be forged.
        """
        features = SecurityFeature.PASSWORD_ALGORITHMS
        if usernameFor is not None:
            features |= SecurityFeature.USERNAME_ANONYMITY
        self._realm = realm
        self._isTerse = isTerse
        self._keyFor = keyFor
        self._usernameFor = usernameFor
        self._algorithms = tuple(PasswordAlgorithm(number) for number in algorithms)
        self._nonces = NonceMint(secret, features, nonceLifetime)

    def verify(
        self,
        request: ReceivedMessage,
        source: TransportAddress,
        now: float,
        otherSource: TransportAddress | None = None,
    ) -> Authenticated | Message:
        """
        Check a request, in the order of section 9.2.4.

        @param otherSource: An earlier connection of the same client, whose nonce is as good here.
        @return: Who sent it; or the error response to send, which has no integrity.
        """
        if not request.hasIntegrity:
            return self._challenge(request, source, now, 401, "Unauthenticated")
        nonce = request.get(AttributeType.NONCE)
        hashed = request.get(AttributeType.USERHASH)
        username = request.get(AttributeType.USERNAME)
        if (
            nonce is None
            or request.get(AttributeType.REALM) is None
            or (username is None and hashed is None)
        ):
            return Message.error(request, 400, "Bad Request")
        offered = request.get(AttributeType.PASSWORD_ALGORITHMS)
        chosen = request.get(AttributeType.PASSWORD_ALGORITHM)
        isNegotiated = offered is not None or chosen is not None
        if isNegotiated and (offered != self._algorithms or chosen not in self._algorithms):
            return Message.error(request, 400, "Bad Request")
        if username is None and self._usernameFor is not None:
            username = self._usernameFor(hashed)
        number = PasswordAlgorithmNumber(
            chosen.number if isNegotiated else PasswordAlgorithmNumber.MD5
        )
        key = None
        if username is not None and PasswordAlgorithm(number) in self._algorithms:
            key = self._keyFor(username, number)
        if username is None or key is None or not request.isIntegrityValid(key):
            return self._challenge(request, source, now, 401, "Unauthenticated")
        sources = (source,) if otherSource is None else (source, otherSource)
        if not any(self._nonces.isValidFor(nonce, username, each, now) for each in sources):
            return self._challenge(request, source, now, 438, "Stale Nonce")
        return Authenticated(username=username, key=key, isSHA256=isNegotiated)

    def nonceFor(self, username: str, host: str, now: float) -> bytes:
        """
        A nonce to hand out together with a credential: see L{NonceMint.mintFor}.
        """
        return self._nonces.mintFor(username, host, now)

    def _challenge(
        self, request: ReceivedMessage, source: TransportAddress, now: float, code: int, reason: str
    ) -> Message:
        return Message.error(
            request,
            code,
            "" if self._isTerse else reason,
            (
                Attribute(AttributeType.REALM, self._realm),
                Attribute(AttributeType.NONCE, self._nonces.mint(source, now)),
                Attribute(AttributeType.PASSWORD_ALGORITHMS, self._algorithms),
            ),
        )
