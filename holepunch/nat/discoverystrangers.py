"""
What becomes of TCP connections that nobody inside asked for (RFC 5382 sections 4.2 and 4.3).

Owns: who plays the stranger, and what follows from each attempt: the filter, what strangers get,
and whether the NAT hairpins.
Knows nothing of: the other questions; sockets.
Driven by: L{holepunch.nat.discoverystreams}.

There are two kinds of stranger. A server that knows how connects to us, once from its other address
and once from another port of its own, and says what came of it. And where the NAT hairpins, this
machine calls its own mapped addresses.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadOnlyDict
from collections.abc import Sequence

import attrs

from holepunch.address import TransportAddress
from holepunch.nat.behaviour import Filtering, Mapping, Unsolicited
from holepunch.nat.discoveryevidence import filteringBehaviour
from holepunch.nat.discoveryfindings import TOO_FEW, Finding
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe, paced
from holepunch.stun import ChangeRequest

# After so long, a port has surely sent to the host that is about to send to it.
_CONTACT = 0.3
_ANSWERS = {
    Fate.REFUSED: Unsolicited.RST,
    Fate.UNREACHABLE: Unsolicited.ICMP,
    Fate.SILENT: Unsolicited.DROP,
}
_LET_IN = "strangers are let in"
_OTHER_HOST = ChangeRequest.HOST | ChangeRequest.PORT


@attrs.frozen(kw_only=True)
class StrangersFinding:
    """
    What strangers found.

    @ivar isEchoHeard: Did a call of our own come back? C{None}: there was none.
    """

    filtering: Finding[Filtering]
    unsolicited: Finding[Unsolicited]
    isEchoHeard: bool | None


class ServerCalls:
    """
    Connections of the server to our ports, on request.

    @param other: The server's other address, as it says; C{None}: it has none.
    """

    def __init__(self, server: TransportAddress, other: TransportAddress | None) -> None:
        self._server = server
        self._other = other
        self._outcomes: dict[ChangeRequest, Outcome] = {}
        self._changes: list[ChangeRequest] = []

    def probes(self, sockets: Sequence[int]) -> list[Probe]:
        """
        Ask on two connections to the server that are there.
        """
        self._changes = [ChangeRequest.PORT, _OTHER_HOST][: 1 if self._other is None else 2]
        return [
            Probe(socket=number, destination=self._server, change=change, isAgain=True)
            for number, change in zip(sockets, self._changes, strict=False)
        ]

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """
        Take what became of them.
        """
        self._outcomes = dict(zip(self._changes, outcomes, strict=False))

    @property
    def why(self) -> str:
        """
        Why nothing is known.
        """
        if not self._outcomes:
            return TOO_FEW
        if self._other is None and self._fate(ChangeRequest.PORT) is not None:
            return f"{self._server} has no second address (RFC 5780)"
        if any(outcome.fate is Fate.SILENT for outcome in self._outcomes.values()):
            return f"{self._server} gave no answer when it was asked to connect to us"
        return f"{self._server} does not connect to its clients from a second address"

    def filtering(self) -> Finding[Filtering]:
        """
        Whom the filter lets in.
        """
        behaviour = filteringBehaviour(
            self._isLetIn(_OTHER_HOST), self._isLetIn(ChangeRequest.PORT)
        )
        return Finding(behaviour, self.why)

    def unsolicited(self) -> Finding[Unsolicited]:
        """
        What a stranger gets.
        """
        fates = [self._fate(change) for change in (_OTHER_HOST, ChangeRequest.PORT)]
        answers = [_ANSWERS[fate] for fate in fates if fate in _ANSWERS]
        if answers:
            return Finding(answers[0])
        return Finding(None, _LET_IN if Fate.HEARD in fates else self.why)

    def _isLetIn(self, change: ChangeRequest) -> bool | None:
        fate = self._fate(change)
        return None if fate is None else fate is Fate.HEARD

    def _fate(self, change: ChangeRequest) -> Fate | None:
        """
        What became of one connection; C{None}: there was none, or who knows.
        """
        outcome = self._outcomes.get(change)
        if outcome is None:
            return None
        if outcome.caller is not None:
            expected = self._server if change is ChangeRequest.PORT else self._other
            isExpected = expected is not None and outcome.caller.host == expected.host
            return Fate.HEARD if isExpected else None
        # A server that says it got through did not get through to us.
        return outcome.call if outcome.call in _ANSWERS else None


class OwnCalls:
    """
    Connections of our own ports to each other's mapped addresses.

    @ivar why: Why nothing is known.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        self._fates: dict[str, Fate] = {}
        self._labels: list[str] = []

    def probes(self, mapped: ReadOnlyDict[int, TransportAddress]) -> list[Probe]:
        """
        What to send.

        A port that has sent to servers only is called; then one that has sent to our mapped host,
        but to another port; then two that call each other.

        @param mapped: The mapped address of each socket.
        """
        numbers = list(mapped)
        if len(numbers) < 6:
            self.why = TOO_FEW
            return []
        quiet, stranger, caller, second, one, other = numbers[:6]
        calls = (
            ("stranger", stranger, quiet, 0.0),
            ("contact", second, quiet, 0.0),
            ("same host", caller, second, _CONTACT),
            ("mutual", one, other, 0.0),
            ("mutual again", other, one, 0.0),
        )
        self._labels = [label for label, *_ in calls]
        return paced(
            Probe(
                socket=sender,
                destination=mapped[hearer],
                hearer=hearer,
                isEcho=True,
                isBrief=True,
                delay=delay,
            )
            for _, sender, hearer, delay in calls
        )

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """
        Take what became of them.
        """
        self._fates = {
            label: outcome.fate for label, outcome in zip(self._labels, outcomes, strict=False)
        }

    @property
    def isHeard(self) -> bool | None:
        """
        Did any come back? C{None}: none was sent.
        """
        return Fate.HEARD in self._fates.values() if self._fates else None

    def filtering(self, mapping: Mapping | None) -> Finding[Filtering]:
        """
        Whom the filter lets in.
        """
        if self._isHeard("stranger"):
            return Finding(Filtering.ENDPOINT_INDEPENDENT)
        if not self.isHeard:
            return Finding(None, self.why)
        if mapping is not Mapping.ENDPOINT_INDEPENDENT:
            return Finding(None, "each destination has a mapped address of its own")
        return Finding(filteringBehaviour(False, self._isHeard("same host")))

    def unsolicited(self) -> Finding[Unsolicited]:
        """
        What a stranger gets.
        """
        if self._isHeard("stranger"):
            return Finding(None, _LET_IN)
        if not self.isHeard:
            return Finding(None, self.why)
        return Finding(_ANSWERS.get(self._fates["stranger"]))

    def _isHeard(self, label: str) -> bool:
        return self._fates.get(label) is Fate.HEARD


def strangersFinding(
    calls: ServerCalls, own: OwnCalls, mapping: Mapping | None
) -> StrangersFinding:
    """
    What both kinds of stranger say together; the server's word counts first.
    """
    filtering, unsolicited = calls.filtering(), calls.unsolicited()
    if filtering.value is None:
        ownFilter = own.filtering(mapping)
        filtering = Finding(ownFilter.value, f"{filtering.why}; {ownFilter.why}")
    if unsolicited.value is None and unsolicited.why != _LET_IN:
        ownAnswer = own.unsolicited()
        why = ownAnswer.why if ownAnswer.why == _LET_IN else f"{unsolicited.why}; {ownAnswer.why}"
        unsolicited = Finding(ownAnswer.value, why)
    return StrangersFinding(filtering=filtering, unsolicited=unsolicited, isEchoHeard=own.isHeard)
