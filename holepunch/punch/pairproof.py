"""
One pair for datagrams that needs no search: through a relay, or on a TCP connection that a session
has nominated. Its checks are those of RFC 8445 section 7, its consent that of RFC 7675.

There is nothing to choose, so nothing is lost if the controlling side nominates with its first
check, and uses the pair once the other side has shown the credential in any way: by a check of its
own, or by an answer.

Owns: proving the pair, keeping it alive, asking for consent, the goodbye.
Knows nothing of: how its messages get to the other side; application data.
Driven by: the paths of L{holepunch.peer}, with one rhythm: an input, then L{PairProof.takeEffects},
then one timer at L{PairProof.nextTimeout}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.punch.candidate import Candidate
from holepunch.punch.checks import Authenticator
from holepunch.punch.credentials import Credentials
from holepunch.punch.goodbye import buildGoodbye, isGoodbye
from holepunch.punch.role import Role
from holepunch.stun import MessageClass, ReceivedMessage, decode

_REMEMBERED = 16
_SLOWEST = 1.0


@attrs.frozen(kw_only=True)
class PairProofConfig:
    """
    The fixed parameters of a pair; times are in seconds.

    @ivar candidate: This side's.
    @ivar isProven: Has the other side shown the credential already?
    @ivar rto: After how long the first unanswered check is sent again; then after twice as long
        each time, up to a second.
    @ivar patience: How long the first proof is waited for.
    """

    isControlling: bool
    local: Credentials
    remote: Credentials
    candidate: Candidate
    randomBytes: Callable[[int], bytes] = attrs.field(repr=False)
    isProven: bool = False
    rto: float = 0.25
    patience: float = 30.0
    keepaliveInterval: float = 5.0
    consentTimeout: float = 30.0


@attrs.frozen
class SendMessage:
    """
    Send C{data} to the other side.
    """

    data: bytes


@attrs.frozen
class PairProven:
    """
    The other side has shown the credential: the pair may be used.
    """


@attrs.frozen
class ProbeReply:
    """
    A check that L{PairProof.probe} sent was answered after so many seconds.
    """

    seconds: float


@attrs.frozen
class PairLost:
    """
    The pair works no longer, or never did.
    """

    reason: str


PairEffect: TypeAlias = SendMessage | PairProven | ProbeReply | PairLost


class PairProof:
    """
    The core of one such pair.
    """

    def __init__(self, config: PairProofConfig, now: float) -> None:
        self._config = config
        tieBreaker = int.from_bytes(config.randomBytes(8), "big")
        self._authenticator = Authenticator(
            config.local, Role(config.isControlling, tieBreaker), config.randomBytes
        )
        self._authenticator.setRemote(config.remote)
        self._effects: list[PairEffect] = []
        self._sent: dict[bytes, tuple[float, bool]] = {}
        self._isProven = config.isProven
        self._isAnswered = config.isProven
        self._isOver = False
        self._rto = config.rto
        self._expiresAt = now + (config.consentTimeout if self._isProven else config.patience)
        self._nextCheckAt = now + self._variedInterval() if self._isProven else now

    @property
    def isProven(self) -> bool:
        """
        May the pair be used?
        """
        return self._isProven

    def receive(self, data: bytes, source: TransportAddress, now: float) -> None:
        """
        A datagram came that looks like STUN. What is not proven is dropped without a word.

        @param source: Where it came from, for the answer.
        """
        if self._isOver:
            return
        if isGoodbye(data, self._config.local, self._config.remote):
            self._end("the other side closed the path")
            return
        try:
            message = decode(data)
        except MalformedMessage:
            return
        if message.messageClass is MessageClass.REQUEST:
            self._receiveRequest(message, source, now)
        elif message.messageClass is MessageClass.SUCCESS:
            self._receiveSuccess(message, now)

    def handleTimeout(self, now: float) -> None:
        """
        The moment that L{nextTimeout} named has come.
        """
        if self._isOver:
            return
        if now >= self._expiresAt:
            what = "answered" if self._isProven else "shown itself"
            self._end(f"the other side has not {what} for too long")
        elif now >= self._nextCheckAt:
            self._check(now, isProbe=False)
            if self._isAnswered:
                self._nextCheckAt = now + self._variedInterval()
            else:
                self._nextCheckAt = now + self._rto
                self._rto = min(_SLOWEST, 2 * self._rto)

    def nextTimeout(self) -> float | None:
        """
        When to call L{handleTimeout}; C{None} for never.
        """
        return None if self._isOver else min(self._expiresAt, self._nextCheckAt)

    def probe(self, now: float) -> None:
        """
        Measure the round trip: L{ProbeReply} tells, or nothing.
        """
        if not self._isOver:
            self._check(now, isProbe=True)

    def close(self, now: float) -> None:
        """
        Say goodbye: the pair is not used any more.
        """
        if not self._isOver:
            self._isOver = True
            config = self._config
            goodbye = buildGoodbye(config.local, config.remote, config.randomBytes)
            self._effects.append(SendMessage(goodbye))

    def takeEffects(self) -> list[PairEffect]:
        """
        Everything to be done since the last call, in order.
        """
        effects, self._effects = self._effects, []
        return effects

    # --- inside -----------------------------------------------------------------------------

    def _receiveRequest(
        self, message: ReceivedMessage, source: TransportAddress, now: float
    ) -> None:
        check = self._authenticator.readRequest(message)
        if check is None:
            return
        if message.unknownRequired:
            answer = self._authenticator.buildUnknownAttributes(check)
        else:
            answer = self._authenticator.buildSuccess(check, source)
        self._effects.append(SendMessage(answer))
        self._prove(now)

    def _receiveSuccess(self, message: ReceivedMessage, now: float) -> None:
        if not self._authenticator.isAuthenticResponse(message):
            return
        sent = self._sent.pop(message.transactionId, None)
        if sent is None:
            return
        sentAt, isProbe = sent
        self._prove(now)
        if not self._isAnswered:
            self._isAnswered = True
            self._nextCheckAt = now + self._variedInterval()
        self._expiresAt = max(self._expiresAt, now + self._config.consentTimeout)
        if isProbe:
            self._effects.append(ProbeReply(now - sentAt))

    def _prove(self, now: float) -> None:
        if self._isProven:
            return
        self._isProven = True
        self._effects.append(PairProven())
        self._expiresAt = now + self._config.consentTimeout
        # What left before may have found no way; by now there is one.
        self._nextCheckAt = now

    def _check(self, now: float, *, isProbe: bool) -> None:
        built = self._authenticator.build(self._config.candidate, self._config.isControlling)
        if len(self._sent) >= _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent[built.transactionId] = (now, isProbe)
        self._effects.append(SendMessage(built.data))

    def _end(self, reason: str) -> None:
        self._isOver = True
        self._effects.append(PairLost(reason))

    def _variedInterval(self) -> float:
        fraction = int.from_bytes(self._config.randomBytes(2), "big") / 0xFFFF
        return self._config.keepaliveInterval * (0.8 + 0.4 * fraction)
