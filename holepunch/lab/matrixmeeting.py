"""
Where two programs of a cell find each other to exchange what they need: a signalling channel.

Owns: joining two TCP connections whose first line is the same.
Knows nothing of: what is said over them.
Driven by: L{holepunch.lab.matrixkernel}, which runs it on the service's host for programs that
bring no signalling of their own. C{python -m holepunch.lab.matrixmeeting HOST PORT}
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure

READY = b"ready: "
_LONGEST = 65536


class Meeting(Protocol):
    """
    One of the two.
    """

    def __init__(self, waiting: dict[bytes, Meeting]) -> None:
        """
        @param waiting: Who waits for the other one, by their first line.
        """
        self._waiting = waiting
        self._name: bytes | None = None
        self._said = b""
        self._other: Meeting | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on, or keep it for who is to come.
        """
        self._said += data
        if self._name is None and b"\n" in self._said:
            self._name, _, self._said = self._said.partition(b"\n")
            self._other = self._waiting.pop(self._name, None)
            if self._other is None:
                self._waiting[self._name] = self
            else:
                self._other._other = self
                self._other._pass()
        self._pass()

    def _pass(self) -> None:
        if self._other is not None:
            assert self._other.transport is not None
            said, self._said = self._said, b""
            self._other.transport.write(said)
        elif len(self._said) > _LONGEST:
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Let the other one go, too.
        """
        if self._name is not None and self._waiting.get(self._name) is self:
            del self._waiting[self._name]
        other, self._other = self._other, None
        if other is not None and other.transport is not None:
            other.transport.loseConnection()


class MeetingFactory(Factory):
    """
    All that meet at one place.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, Meeting] = {}

    def buildProtocol(self, addr: object) -> Meeting:
        """
        One more.
        """
        return Meeting(self._waiting)


async def main(reactor: Any, host: str, port: str) -> None:
    """
    Listen, say so, and go on for ever.
    """
    endpoint = TCP4ServerEndpoint(reactor, int(port), interface=host)
    address = (await endpoint.listen(MeetingFactory())).getHost()
    sys.stdout.write(f"{READY.decode()}{address.host}:{address.port}\n")
    sys.stdout.flush()
    await Deferred()


if __name__ == "__main__":
    react(
        lambda reactor, *arguments: Deferred.fromCoroutine(main(reactor, *arguments)), sys.argv[1:]
    )
