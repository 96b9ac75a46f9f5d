"""
Who sent what to whom, and when, put together out of what both peers of a session saw.

The two traces know when something left and when something arrived. A check that one side sent and
the other received is one arrow; what left and was never seen again ended at the other side's NAT.
Of SYNs no program hears; when they arrived follows from how long the connects took.

Owns: the arrows of the punching, and the holes that they open.
Knows nothing of: what goes over the rendezvous service; titles and pictures.
Driven by: L{holepunch.cli.sessiondiagram}.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from holepunch.address import Transport, TransportAddress, isPrivateHost
from holepunch.cli.sequencediagram import Message, MessageKind
from holepunch.cli.sessionside import Connect, SessionSide
from holepunch.punch import EventKind, PunchEvent

SAME_FLIGHT = 0.003
"""
Seconds within which things left, or came, together.
"""

# How much longer than the other side's a connect takes whose first SYN was dropped.
_DROPPED = 1.25
# The first retransmission of a SYN (RFC 6298 section 2).
_SYN_TIMEOUT = 1.0
# So many vain tries towards one host are shown.
_MOST_TRIES = 3


class Arrows:
    """
    The arrows of one session.

    @ivar begin: When the session began: the arrows count from there.
    @ivar flight: How long a packet takes from one peer to the other, as far as is known.
    @ivar holes: When which NAT first let something out to the other peer.
    @ivar vain: The private addresses that were tried in vain, and by whom.
    """

    def __init__(
        self,
        sides: tuple[SessionSide, SessionSide],
        nats: Mapping[SessionSide, str | None],
        flight: float,
    ) -> None:
        """
        @param sides: The peer that asked, and the other one.
        @param nats: What their NATs are called.
        @param flight: An estimate, until a connect shows it.
        """
        self.begin = sides[0].startedAt
        self.flight = flight
        self.holes: dict[str, float] = {}
        self.vain: dict[str, str] = {}
        self._sides = sides
        self._nats = nats
        self._messages: list[Message] = []

    def other(self, side: SessionSide) -> SessionSide:
        """
        The other side.
        """
        asking, asked = self._sides
        return asked if side is asking else asking

    def add(
        self,
        sentAt: float,
        arrivedAt: float,
        sender: str,
        receiver: str,
        label: str,
        kind: MessageKind,
        stoppedBy: str | None = None,
    ) -> None:
        """
        Draw an arrow; the times are those of the traces.
        """
        self._messages.append(
            Message(
                sentAt=sentAt - self.begin,
                arrivedAt=max(sentAt, arrivedAt) - self.begin,
                sender=sender,
                receiver=receiver,
                label=label,
                kind=kind,
                stoppedBy=stoppedBy,
            )
        )

    def between(
        self, side: SessionSide, sentAt: float, arrivedAt: float, label: str, kind: MessageKind
    ) -> None:
        """
        Draw an arrow from one peer to the other.
        """
        self.add(sentAt, arrivedAt, side.name, self.other(side).name, label, kind)

    def messages(self) -> tuple[Message, ...]:
        """
        All arrows in the order of time; the checks and answers of one flight are one arrow.
        """
        found: list[Message] = []
        self._messages.sort(key=lambda each: (each.sentAt, each.arrivedAt, each.sender))
        for message in self._messages:
            for index, earlier in enumerate(found):
                if _isOneFlight(earlier, message):
                    found[index] = _joined(earlier, message)
                    break
            else:
                found.append(message)
        return tuple(found)

    def _stopped(self, side: SessionSide, sentAt: float, label: str) -> None:
        """
        Draw an arrow from a peer to the other one's NAT, and no further.
        """
        other = self.other(side)
        # The NAT is most of the way away.
        arrivedAt = sentAt + 0.9 * self.flight
        end = self._nats[other] or other.name
        self.add(sentAt, arrivedAt, side.name, other.name, label, MessageKind.PUNCH, end)

    def _leaves(self, side: SessionSide, remote: TransportAddress, at: float) -> bool:
        """
        Does what the peer sends there go through its NAT? That opens the hole.
        """
        if isPrivateHost(remote.host):
            return False
        nat = self._nats[side]
        if nat is not None:
            self.holes[nat] = min(at - self.begin, self.holes.get(nat, at - self.begin))
        return True

    # --- connects -------------------------------------------------------------------------------

    def addConnects(self, side: SessionSide) -> None:
        """
        Draw the TCP connects of one side, and what the kernels answered.
        """
        tries: dict[str, int] = {}
        for connect in side.connects():
            leaves = self._leaves(side, connect.remote, connect.startedAt)
            if connect.connectedAt is not None:
                self._succeeded(side, connect, connect.connectedAt)
            elif not leaves:
                self.vain[connect.remote.host] = side.name
            else:
                host = connect.remote.host
                count = tries[host] = tries.get(host, 0) + 1
                if count <= _MOST_TRIES:
                    label = "SYN" if count == 1 else "SYN again"
                    self._stopped(side, connect.startedAt, label)
                    self._refused(side, connect)

    def _succeeded(self, side: SessionSide, connect: Connect, connectedAt: float) -> None:
        other = self.other(side)
        duration = connectedAt - connect.startedAt
        # The same connection, opened from the other end, where both succeeded.
        opposite = {
            each.connectedAt - each.startedAt: each.connectedAt
            for each in other.connects()
            if each.connectedAt is not None
            and side.isSeenAt(connect.local, each.remote)
            and other.isSeenAt(each.local, connect.remote)
        }
        quickest = min([duration, *opposite])
        if quickest < _SYN_TIMEOUT:
            self.flight = quickest / 2
        flight, kind = self.flight, MessageKind.PUNCH
        if duration <= _DROPPED * quickest < _DROPPED * _SYN_TIMEOUT:
            self.between(side, connect.startedAt, connect.startedAt + flight, "SYN", kind)
            self.between(other, connectedAt - flight, connectedAt, "SYN ACK", kind)
            return
        self._stopped(side, connect.startedAt, "SYN")
        if duration > _DROPPED * quickest:
            # The other side's SYN came through: this side answers it, and is answered.
            self.between(other, min(connectedAt, opposite[quickest]), connectedAt, "ACK", kind)
        else:
            again = connectedAt - 2 * flight
            self.between(side, again, connectedAt - flight, "SYN again", kind)
            self.between(other, connectedAt - flight, connectedAt, "SYN ACK", kind)

    def _refused(self, side: SessionSide, connect: Connect) -> None:
        if connect.failure in ("refused", "reset") and connect.failedAt is not None:
            other = self.other(side)
            sender = self._nats[other] or other.name
            at = connect.failedAt
            # It came sooner than the other side could answer, where a device nearby sent it.
            duration = at - connect.startedAt
            flight = self.flight if self.flight <= duration else duration / 2
            self.add(at - flight, at, sender, side.name, "RST", MessageKind.PUNCH)

    # --- checks ---------------------------------------------------------------------------------

    def addChecks(self, side: SessionSide) -> None:
        """
        Draw the checks of one side, and the answers to them.
        """
        other = self.other(side)
        unseen = side.ofKind(EventKind.CHECK_SENT, EventKind.CHECK_REPEATED)
        arrived: list[PunchEvent] = []
        for received in other.ofKind(EventKind.CHECK_RECEIVED):
            candidates = [each for each in unseen if self._isSame(side, each, received)]
            if candidates:
                sent = min(candidates, key=lambda each: abs(received.at - each.at - self.flight))
                unseen.remove(sent)
                arrived.append(received)
                self._leaves(side, _known(sent.remote), sent.at)
                self.between(side, sent.at, received.at, _words(sent), _kind(sent))
        tries: dict[str, int] = {}
        for sent in unseen:
            if self._isMissed(side, sent):
                host = _known(sent.remote).host
                count = tries[host] = tries.get(host, 0) + 1
                if count <= _MOST_TRIES:
                    self._stopped(side, sent.at, f"{_words(sent)}{' again' * (count > 1)}")
        for answered in side.ofKind(EventKind.CHECK_ANSWERED):
            asked = [each for each in arrived if 0 < answered.at - each.at < _SYN_TIMEOUT]
            if asked:
                best = min(asked, key=lambda each: abs(answered.at - each.at - self.flight))
                isStream = bool(best.detail) and best.transport is Transport.TCP
                label = "success + TLS hello" if isStream else "success"
                self.between(other, best.at, answered.at, label, MessageKind.PROOF)

    def _isSame(self, side: SessionSide, sent: PunchEvent, received: PunchEvent) -> bool:
        """
        May this be the arrival of that check?
        """
        there, here = _known(sent.remote), _known(received.remote)
        return (
            sent.at <= received.at
            and sent.transport is received.transport
            and sent.detail == received.detail
            and isPrivateHost(there.host) is isPrivateHost(here.host)
            and side.isSeenAt(_known(sent.local), here)
            and self.other(side).isSeenAt(_known(received.local), there)
        )

    def _isMissed(self, side: SessionSide, sent: PunchEvent) -> bool:
        """
        Should the other side have seen this check, which it did not see?
        """
        remote = _known(sent.remote)
        if not self._leaves(side, remote, sent.at):
            self.vain[remote.host] = side.name
            return False
        selectedAt = self.other(side).selectedAt
        # Afterwards the other side looked at checks no longer.
        isLate = selectedAt is not None and sent.at + self.flight > selectedAt - SAME_FLIGHT
        # What was sent on a connection that broke is the connection's affair.
        return sent.transport is Transport.UDP and not isLate


def _known(address: TransportAddress | None) -> TransportAddress:
    assert address is not None
    return address


def _words(sent: PunchEvent) -> str:
    if not sent.detail:
        return "check"
    if sent.transport is Transport.UDP:
        return "nominating check"
    return "nominating check + TLS hello"


def _kind(sent: PunchEvent) -> MessageKind:
    isOpening = sent.transport is Transport.UDP and not sent.detail
    return MessageKind.PUNCH if isOpening else MessageKind.PROOF


def _isOneFlight(one: Message, other: Message) -> bool:
    # A SYN never travels with anything else.
    areChecks = all("check" in each.label or "success" in each.label for each in (one, other))
    areAlike = one.label == other.label and one.stoppedBy is not None
    return (
        (areChecks or areAlike)
        and (one.sender, one.receiver, one.stoppedBy)
        == (other.sender, other.receiver, other.stoppedBy)
        and abs(one.sentAt - other.sentAt) < SAME_FLIGHT
        and abs(one.arrivedAt - other.arrivedAt) < SAME_FLIGHT
    )


def _joined(one: Message, other: Message) -> Message:
    words = list(dict.fromkeys(f"{one.label} + {other.label}".split(" + ")))
    words.sort(key=lambda word: not word.startswith("success"))
    kind = one.kind if one.kind is other.kind else MessageKind.PROOF
    return attrs.evolve(one, label=" + ".join(words), kind=kind)
