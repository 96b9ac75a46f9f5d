"""
Other programs in a matrix, given as command templates.

Owns: reading a template and filling it in; running the two sides of a pair; what they achieved.
Knows nothing of: the network, and what the programs do in it.
Driven by: L{holepunch.lab.matrixkernel}.

A template is a command line with words in braces: C{{role}} is C{alice} or C{bob}, C{{session}} is
a name that both sides have and no other pair, C{{service}} the host of the STUN server (port 3478)
and of the rendezvous service, C{{signal}} the C{HOST:PORT} of a TCP server that joins two
connections whose first line is the same. Both commands run at once. The pair has succeeded when
both end with status 0; if the last line of alice's output is a JSON object, its C{seconds} and
C{candidate} are taken, otherwise the time that her command took.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.errors import UsageError
from holepunch.lab.matrixnetwork import Place
from holepunch.lab.namespaces import NamespaceLab

_PATIENCE = 20.0
_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
WORDS = ("role", "session", "service", "signal")


@attrs.frozen
class ProgramTemplate:
    """
    A program to be run on both sides.

    @ivar name: What to call it.
    @ivar words: Its command line.
    """

    name: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> ProgramTemplate:
        """
        Read C{[NAME=]COMMAND}.

        @raise UsageError: It cannot be read, or asks for what there is not.
        """
        named = _NAMED.fullmatch(text)
        try:
            words = tuple(shlex.split(named[2] if named else text))
            if not words:
                raise ValueError("it is empty")
            template = cls(named[1] if named else words[0].rpartition("/")[2], words)
            template.fill(**dict.fromkeys(WORDS, ""))
        except (ValueError, LookupError) as error:
            known = ", ".join(f"{{{word}}}" for word in WORDS)
            raise UsageError(
                f"the template {text!r} is wrong: {error}; known are {known}"
            ) from None
        return template

    def fill(self, **values: str) -> list[str]:
        """
        The command line with its words in place.
        """
        return [word.format(**values) for word in self.words]


class _Running(ProcessProtocol):
    """
    One side of a pair.
    """

    def __init__(self) -> None:
        self.ended: Deferred[_Running] = Deferred()
        self.isGood = False
        self._output = b""
        self._complaint = b""

    def outReceived(self, data: bytes) -> None:
        self._output = (self._output + data)[-65536:]

    def errReceived(self, data: bytes) -> None:
        self._complaint = (self._complaint + data)[-65536:]

    def processEnded(self, reason: Failure) -> None:
        self.isGood = reason.check(ProcessDone) is not None
        self.ended.callback(self)

    def kill(self) -> None:
        try:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        except ProcessExitedAlready:
            return

    @property
    def report(self) -> dict[str, Any]:
        """
        The JSON object on the last line of the output, if there is one.
        """
        try:
            said = json.loads(self._output.strip().rpartition(b"\n")[2])
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def lastWord(self) -> str:
        """
        The last line of what it complained about.
        """
        text = self._complaint.decode(errors="replace").strip()
        return text.rpartition("\n")[2] or "it said nothing"


async def runPair(
    reactor: Any,
    lab: NamespaceLab,
    template: ProgramTemplate,
    place: Place,
    **values: str,
) -> dict[str, Any]:
    """
    Run both sides, and end them if they take too long.

    @return: C{seconds} and C{candidate}, or C{failure}.
    """
    startedAt = reactor.seconds()
    sides = [_Running(), _Running()]
    for side, role, host in zip(sides, ("alice", "bob"), (place.alice, place.bob), strict=True):
        lab.spawn(side, host, template.fill(role=role, **values))

    def giveUp() -> None:
        for side in sides:
            side.kill()

    patience = reactor.callLater(_PATIENCE, giveUp)
    alice, bob = await gatherResults([side.ended for side in sides])
    took = reactor.seconds() - startedAt
    if patience.active():
        patience.cancel()
    for side, role in ((alice, "alice"), (bob, "bob")):
        if not side.isGood:
            return {"failure": f"{role}: {side.lastWord}"}
    report = alice.report
    return {"seconds": report.get("seconds", took), "candidate": report.get("candidate")}
