"""
Connectivity checks over UDP (RFC 8445 sections 7.2, 7.3 and 14).

Owns: the transactions under way, their pacing and retransmission, triggered checks, and answering.
Knows nothing of: TCP; which pair is to be nominated; when a session ends.
Driven by: L{PunchSession}, which after every input looks at the pairs and at C{chosen} and
C{confirmed}.
"""

from __future__ import annotations

from collections import deque

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.punch.candidate import CandidateType
from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import (
    ROLE_CONFLICT,
    Authenticator,
    ReceivedCheck,
)
from holepunch.punch.config import SessionConfig
from holepunch.punch.effects import EventKind, ProbeAnswered, SendDatagram
from holepunch.punch.fate import Fate
from holepunch.punch.journal import Journal
from holepunch.punch.nomination import Contender
from holepunch.punch.pacing import Pacer
from holepunch.punch.pair import CandidatePair, PairState
from holepunch.punch.priority import reflexivePriority
from holepunch.punch.role import Role
from holepunch.punch.roleconflicts import RoleConflicts
from holepunch.punch.sentchecks import SentCheck, SentChecks
from holepunch.stun import (
    AttributeType,
    MessageClass,
    ReceivedMessage,
    decode,
)

_MINIMAL_RTO = 0.25
_MAXIMAL_RTO = 0.5
_EARLY_LIMIT = 16
_ROAMING_SILENCE = 1.0
_SETTLING_TIME = 2.0


@attrs.frozen
class _EarlyCheck:
    local: TransportAddress
    remote: TransportAddress
    check: ReceivedCheck


class DatagramChecks:
    """
    All checks over UDP of one session.

    @ivar confirmed: Controlling: the pair whose nominating check was answered.
    @ivar unconfirmed: Controlling: the pair whose nominating check is under way.
    @ivar isNominationFailed: Controlling: the last nominating check was never answered.
    """

    def __init__(
        self,
        config: SessionConfig,
        role: Role,
        authenticator: Authenticator,
        checkList: CheckList,
        journal: Journal,
    ) -> None:
        self.confirmed: CandidatePair | None = None
        self.unconfirmed: CandidatePair | None = None
        self.isNominationFailed = False
        self._config = config
        self._role = role
        self._authenticator = authenticator
        self._checkList = checkList
        self._journal = journal
        self._conflicts = RoleConflicts(role, checkList, journal)
        self._pacer = Pacer(config.checkPacing, config.checkBurst)
        self._sent = SentChecks()
        self._triggered: deque[CandidatePair] = deque()
        self._early: list[_EarlyCheck] = []
        self._nominated: list[CandidatePair] = []
        self._isSearching = True
        self._selected: CandidatePair | None = None
        self._roaming: CandidatePair | None = None

    @property
    def chosen(self) -> CandidatePair | None:
        """
        Controlled: the best pair that the other side nominated, a valid one if there is one: a
        nominating check may have been overheard, and sent again from elsewhere.
        """
        return max(
            self._nominated, key=lambda pair: (pair.hasSucceeded, pair.priority), default=None
        )

    def successor(self, now: float) -> CandidatePair | None:
        """
        The pair that takes the place of the selected one, if there is such: the controlling side
        nominated another one that is valid, or the other side answers at another address by now,
        and no longer at the old one.
        """
        selected, roaming, chosen = self._selected, self._roaming, self.chosen
        if selected is None:
            return None
        if roaming is not None and roaming.answeredAt is not None:
            since = selected.succeededAt if selected.answeredAt is None else selected.answeredAt
            isLater = roaming.answeredAt > since and now - since > _ROAMING_SILENCE
            if roaming.hasSucceeded and isLater:
                self._nominated = [roaming]
                return roaming
        isBetter = chosen is not None and chosen is not selected and chosen.hasSucceeded
        return chosen if isBetter and not self._role.isControlling else None

    # --- inputs -----------------------------------------------------------------------------

    def receive(
        self, local: TransportAddress, remote: TransportAddress, data: bytes, now: float
    ) -> None:
        """
        Take one datagram that looks like STUN. What is not proven is dropped without a word.
        """
        try:
            message = decode(data)
        except MalformedMessage:
            return
        if message.messageClass is MessageClass.REQUEST:
            self._receiveRequest(local, remote, message, now)
        elif message.messageClass is not MessageClass.INDICATION:
            self._receiveResponse(local, remote, message, now)

    def credentialsKnown(self, now: float) -> None:
        """
        The remote credentials have come: the checks that came before them count now.
        """
        early, self._early = self._early, []
        remote = self._authenticator.remote
        for item in early:
            if remote is None or item.check.remoteUfrag != remote.ufrag:
                continue
            pair = self._pairOf(item.local, item.remote, item.check, now)
            if pair is not None:
                self._accept(pair, item.check, now)

    def advance(self, now: float) -> None:
        """
        Send what is due: retransmissions, triggered checks, first checks.
        """
        for sent, data in self._sent.due(now):
            if data is None:
                self._failed(sent, Fate.UNANSWERED, now)
            else:
                detail = "nominating" if sent.built.isNominating else ""
                self._journal.tracePair(now, EventKind.CHECK_REPEATED, sent.pair, detail)
                self._journal.add(SendDatagram(sent.pair.base, sent.pair.remote.address, data))
        if self._authenticator.remote is None:
            return
        if self._isSearching:
            for pair in self._checkList.ofTransport(Transport.UDP):
                if pair.retryAt is not None and pair.retryAt <= now:
                    pair.repeat()
        while self._pacer.readyAt() <= now and (due := self._nextDue()) is not None:
            self._pacer.take(now)
            self._send(due, now)

    def nextTimeout(self) -> float | None:
        """
        When L{advance} has something to do.
        """
        times = [self._sent.nextTimeout()]
        if self._authenticator.remote is not None:
            if self._isSearching:
                times += [
                    pair.retryAt
                    for pair in self._checkList.ofTransport(Transport.UDP)
                    if pair.retryAt is not None
                ]
            if self._peekDue() is not None:
                times.append(self._pacer.readyAt())
        return min((at for at in times if at is not None), default=None)

    def contenders(self) -> list[Contender]:
        """
        The valid pairs.
        """
        return [
            Contender(
                key=pair,
                priority=pair.priority,
                remoteHost=pair.remote.address.host,
                since=pair.succeededAt,
                rtt=pair.rtt or 0.0,
            )
            for pair in self._checkList.ofTransport(Transport.UDP)
            if pair.hasSucceeded
        ]

    def nominate(self, pair: CandidatePair, now: float) -> None:
        """
        Send the nominating check of a valid pair (RFC 8445 section 8.1.1).
        """
        pair.isNominated = True
        self.unconfirmed = pair
        self.isNominationFailed = False
        self._journal.tracePair(now, EventKind.NOMINATED, pair)
        self._send(pair, now, isNominating=True)

    def askConsent(self, pair: CandidatePair, now: float) -> None:
        """
        Send a consent check on the selected pair (RFC 7675 section 5.1): it is never repeated.
        """
        self._sendConsent(pair, now, False)

    def probe(self, pair: CandidatePair, now: float) -> None:
        """
        Send a check on the selected pair, and tell when its answer comes.
        """
        self._sendConsent(pair, now, True)

    def stopSearching(self, selected: CandidatePair | None) -> None:
        """
        A path was selected: nothing is checked any more but what the other side still nominates.

        @param selected: The pair that goes on, if it is over UDP.
        """
        self._isSearching = False
        self._selected = selected
        self._roaming = None
        self._triggered.clear()
        self._sent.forgetOthers(selected)

    def stop(self) -> None:
        """
        The session has ended.
        """
        self.stopSearching(None)

    # --- requests ---------------------------------------------------------------------------

    def _receiveRequest(
        self,
        local: TransportAddress,
        remote: TransportAddress,
        message: ReceivedMessage,
        now: float,
    ) -> None:
        check = self._authenticator.readRequest(message)
        if check is None or not self._checkList.isBase(Transport.UDP, local):
            return
        if message.unknownRequired:
            self._answer(local, remote, self._authenticator.buildUnknownAttributes(check))
            return
        if not self._conflicts.admits(check, now):
            self._answer(local, remote, self._authenticator.buildRoleConflict(check))
            return
        success = self._authenticator.buildSuccess(check, remote)
        if self._authenticator.remote is not None:
            pair = self._pairOf(local, remote, check, now)
            # From more addresses than there is place for, nobody checks in earnest.
            if pair is not None:
                self._answer(local, remote, success)
                self._accept(pair, check, now)
        elif len(self._early) < _EARLY_LIMIT:
            self._answer(local, remote, success)
            self._early.append(_EarlyCheck(local, remote, check))

    def _answer(self, local: TransportAddress, remote: TransportAddress, data: bytes) -> None:
        self._journal.add(SendDatagram(local, remote, data, isAnswer=True))

    def _pairOf(
        self, local: TransportAddress, remote: TransportAddress, check: ReceivedCheck, now: float
    ) -> CandidatePair | None:
        """
        The pair that a check came on, which may be a new one; C{None} where there is no place.
        """
        pair = self._checkList.find(Transport.UDP, local, remote)
        if pair is None:
            pair = self._checkList.learnRemote(Transport.UDP, local, remote, check.priority)
            if pair is not None:
                self._journal.tracePair(now, EventKind.PAIR_FORMED, pair, str(pair.remote))
        return pair

    def _accept(self, pair: CandidatePair, check: ReceivedCheck, now: float) -> None:
        if self._isSearching:
            detail = "nominating" if check.isNominating else ""
            self._journal.tracePair(now, EventKind.CHECK_RECEIVED, pair, detail)
        pair.isRemoteProven = True
        if check.isNominating and not self._role.isControlling:
            pair.isNominated = True
            if pair not in self._nominated:
                self._nominated.append(pair)
        elif not self._isSearching:
            # The other side sends on the selected pair only: if this is another one, then its NAT
            # has given it another address. On a pair that is valid already, or soon after the
            # selection, the check is only late.
            selected = self._selected
            isLate = selected is not None and now - selected.succeededAt < _SETTLING_TIME
            if pair is not selected and not pair.hasSucceeded and not isLate:
                self._roaming = pair
                self._trigger(pair)
            return
        if not pair.hasSucceeded:
            self._trigger(pair)

    def _trigger(self, pair: CandidatePair) -> None:
        pair.repeat()
        self._sent.supersede(pair)
        if pair not in self._triggered:
            self._triggered.append(pair)

    # --- responses --------------------------------------------------------------------------

    def _receiveResponse(
        self,
        local: TransportAddress,
        remote: TransportAddress,
        message: ReceivedMessage,
        now: float,
    ) -> None:
        if not self._authenticator.isAuthenticResponse(message):
            return
        sent = self._sent.take(message)
        if sent is None:
            return
        pair = sent.pair
        if remote != pair.remote.address or local != pair.base:
            # RFC 8445 section 7.2.5.2.1: the path must be the same both ways.
            self._failed(sent, Fate.ASYMMETRIC, now)
            return
        if message.messageClass is MessageClass.ERROR:
            error = message.error
            if error is not None and error.code == ROLE_CONFLICT:
                self._conflicts.refused(sent.built, now)
                if sent.built.isNominating:
                    self._failed(sent, Fate.REJECTED, now)
                elif not pair.hasSucceeded:
                    self._trigger(pair)
            else:
                self._failed(sent, Fate.REJECTED, now)
            return
        mapped = message.get(AttributeType.XOR_MAPPED_ADDRESS)
        if mapped is None:
            self._failed(sent, Fate.REJECTED, now)
            return
        self._succeeded(sent, mapped, now)

    def _succeeded(self, sent: SentCheck, mapped: TransportAddress, now: float) -> None:
        pair = sent.pair
        if not pair.hasSucceeded:
            self._journal.tracePair(now, EventKind.CHECK_ANSWERED, pair, f"mapped to {mapped}")
        rtt = sent.transaction.rtt(now)
        pair.succeed(rtt, now)
        if sent.isProbe and rtt is not None:
            self._journal.add(ProbeAnswered(rtt))
        pair.answeredAt = now
        if pair.mapped is None or pair.mapped.address != mapped:
            priority = reflexivePriority(pair.local, self._config.preferredTransport)
            self._checkList.learnMapped(pair, mapped, priority)
        self._sent.forget(pair)
        if sent.built.isNominating:
            self.confirmed = pair
            self.unconfirmed = None

    def _failed(self, sent: SentCheck, fate: Fate, now: float) -> None:
        pair = sent.pair
        if sent.isConsent:
            return
        self._journal.tracePair(now, EventKind.CHECK_FAILED, pair, fate.value)
        if sent.built.isNominating:
            self.unconfirmed = None
            self.isNominationFailed = True
        # An address that was seen only as the source of a check may be a victim's: what is sent
        # there must be worth what came from there. The next check from there triggers another.
        isVictim = pair.remote.type is CandidateType.PEER_REFLEXIVE and pair.answeredAt is None
        pair.fail(fate, None if isVictim else now + self._config.retryDelay)

    # --- sending ----------------------------------------------------------------------------

    def _peekDue(self) -> CandidatePair | None:
        while self._triggered:
            if self._triggered[0].state is PairState.WAITING:
                return self._triggered[0]
            self._triggered.popleft()
        if self._isSearching:
            for pair in self._checkList.inCheckOrder(Transport.UDP):
                if pair.state is PairState.WAITING:
                    return pair
        return None

    def _nextDue(self) -> CandidatePair | None:
        pair = self._peekDue()
        if self._triggered and self._triggered[0] is pair:
            self._triggered.popleft()
        return pair

    def _send(self, pair: CandidatePair, now: float, isNominating: bool = False) -> None:
        built = self._authenticator.build(pair.local, isNominating)
        pair.start(now)
        self._sent.add(pair, built, self._retransmissionTimeout(), now)
        detail = "nominating" if isNominating else ""
        self._journal.tracePair(now, EventKind.CHECK_SENT, pair, detail)
        self._journal.add(SendDatagram(pair.base, pair.remote.address, built.data))

    def _sendConsent(self, pair: CandidatePair, now: float, isProbe: bool) -> None:
        built = self._authenticator.build(pair.local)
        self._sent.addConsent(pair, built, self._config.keepaliveInterval, now, isProbe)
        self._journal.add(SendDatagram(pair.base, pair.remote.address, built.data))

    def _retransmissionTimeout(self) -> float:
        # RFC 8445 section 14.3: Ta times the pairs that wait or are in progress.
        active = sum(
            pair.state in (PairState.WAITING, PairState.IN_PROGRESS)
            for pair in self._checkList.ofTransport(Transport.UDP)
        )
        return min(max(_MINIMAL_RTO, active * self._config.checkPacing), _MAXIMAL_RTO)
