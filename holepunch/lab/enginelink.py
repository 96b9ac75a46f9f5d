"""
The pipe to the engine process of a lab, at the end of L{NamespaceLab}.

Owns: starting the process, matching answers to requests, and the engine's last words.
Knows nothing of: what the requests mean.
Driven by: L{NamespaceLab}; the reactor, when the engine says something or ends.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.errors import LabError, NamespacesUnavailable
from holepunch.lab.jsonform import fromPlain, toPlain
from holepunch.lab.topology import Topology
from holepunch.lab.transit import Fate
from holepunch.nat import Protocol, TCPFlag

_log = Logger()
#: The arguments with which the interpreter becomes an engine.
ENGINE_COMMAND = ("-m", "holepunch.lab.engine")
#: The engine's descriptor of the UNIX socket over which it hands out sockets.
SOCKETS_FD = 3
#: With each of them comes a number of so many bytes.
TOKEN_LENGTH = 4
_STDERR = 2
_LAST_WORDS = 2000
_KINDS = {kind.__name__: kind for kind in (LabError, NamespacesUnavailable)}


@attrs.frozen(kw_only=True)
class EngineOptions:
    """
    What an engine is told on the first line.

    @ivar isRootless: See L{leaveNetwork<holepunch.lab.isolation.leaveNetwork>}.
    @ivar useOffload: See L{Wire<holepunch.lab.wire.Wire>}.
    @ivar answersUnroutable: See L{Fabric<holepunch.lab.fabric.Fabric>}.
    @ivar folder: Stand alone, with the files of the lab there, and do not end with whoever
        started it: see L{holepunch.lab.standing}.
    """

    topology: Topology
    seed: int = 0
    isRootless: bool | None = None
    useOffload: bool = True
    answersUnroutable: bool = False
    folder: str | None = None

    @property
    def line(self) -> bytes:
        """
        As the engine reads it.
        """
        return _line(toPlain(self))


@attrs.frozen(kw_only=True)
class PacketNews:
    """
    What became of a packet at one place on its way.

    @ivar time: A moment of C{time.monotonic}.
    @ivar place: The host or NAT, or its link.
    @ivar flags: With TCP.
    @ivar reason: The NAT's, where it dropped the packet.
    """

    time: float
    place: str
    protocol: Protocol
    source: TransportAddress
    destination: TransportAddress
    flags: TCPFlag
    fate: Fate
    reason: str


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def engineEnvironment() -> dict[str, str]:
    """
    An environment in which a new interpreter imports what this one does.
    """
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [package, *(os.path.abspath(path) for path in sys.path if path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


class EngineLink(ProcessProtocol):
    """
    One engine process.

    @ivar whenReady: Fires with the engine's description of itself, or why there is none.
    @ivar whenEnded: Fires when the process has ended.
    @ivar observers: Told of every packet, once the engine was asked to C{watch}.
    """

    transport: IProcessTransport

    def __init__(self) -> None:
        self.whenReady: Deferred[dict[str, Any]] = Deferred(lambda _: self.kill())
        self.whenEnded: Deferred[None] = Deferred()
        self.observers: list[Callable[[PacketNews], object]] = []
        self._numbers = itertools.count()
        self._waiting: dict[int, Deferred[Any]] = {}
        self._received = b""
        self._lastWords = b""

    def start(self, reactor: IReactorProcess, options: EngineOptions, sockets: int) -> None:
        """
        Start the process.

        @param sockets: The UNIX socket over which the engine hands out sockets.
        """
        reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, *ENGINE_COMMAND],
            env=engineEnvironment(),
            childFDs={0: "w", 1: "r", 2: "r", SOCKETS_FD: sockets},
        )
        self.transport.writeToChild(0, options.line)

    @property
    def pid(self) -> int:
        """
        The process.
        """
        return int(self.transport.pid)

    def request(self, name: str, *arguments: Any) -> Deferred[Any]:
        """
        Ask the engine for something.

        @raise LabError: (from the Deferred) It said no, or has ended.
        """
        number = next(self._numbers)
        try:
            self.transport.writeToChild(0, _line([number, name, arguments]))
        except KeyError:
            # Twisted's way to say that the pipe is closed.
            return fail(LabError("The lab's engine has ended."))
        answer: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._waiting[number] = answer
        return answer

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def close(self) -> None:
        """
        Ask the engine to end.
        """
        self.transport.closeStdin()

    def kill(self) -> None:
        """
        End the engine without asking.
        """
        try:
            self.transport.signalProcess(signal.SIGKILL)
        except ProcessExitedAlready:
            return

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        The engine said something.
        """
        if childFD == _STDERR:
            _log.warn("lab engine: {text}", text=data.decode(errors="replace").rstrip())
            self._lastWords = (self._lastWords + data)[-_LAST_WORDS:]
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._lineReceived(json.loads(line))

    def _lineReceived(self, said: dict[str, Any]) -> None:
        if "news" in said:
            news = fromPlain(PacketNews, said["news"])
            for observer in self.observers:
                observer(news)
        elif "ready" in said:
            self.whenReady.callback(said["ready"])
        elif "failed" in said:
            self.whenReady.errback(_KINDS.get(said["kind"], LabError)(said["failed"]))
        else:
            answer = self._waiting.pop(said["request"], None)
            if answer is None:
                return
            if "error" in said:
                answer.errback(LabError(said["error"]))
            else:
                answer.callback(said["result"])

    def processEnded(self, reason: Failure) -> None:
        """
        The engine has ended: so has everything that waits for it.
        """
        *_, lastWord = self._lastWords.decode(errors="replace").strip().split("\n")
        error = LabError(f"The lab's engine ended. {lastWord}".rstrip())
        if not self.whenReady.called:
            self.whenReady.errback(error)
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(error)
        self.whenEnded.callback(None)
