"""
How the engine is asked: one JSON object a line, over a pipe or over a UNIX socket.

Owns: reading requests and writing answers; what ends the engine.
Knows nothing of: what the requests mean: they are the public methods of the engine.
Driven by: the reactor of the engine process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import Any

import attrs
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError
from holepunch.lab.standingfiles import CONTROL_SOCKET, END_REQUEST, readRecord, writeRecord

_LONGEST_LINE = 1 << 24
_log = Logger()


class Requests(LineOnlyReceiver):
    """
    The requests, and the end of them.
    """

    delimiter = b"\n"
    MAX_LENGTH = _LONGEST_LINE

    def __init__(self, reactor: IReactorCore, engine: Any) -> None:
        self._reactor = reactor
        self._engine = engine
        engine.say = self.say

    def say(self, said: dict[str, Any]) -> None:
        self.sendLine(json.dumps(said).encode())

    def lineReceived(self, line: bytes) -> None:
        number, name, arguments = json.loads(line)
        try:
            answer = {"result": getattr(self._engine, name)(*arguments)}
        except (HolepunchError, OSError) as error:
            answer = {"error": str(error)}
        except Exception as error:
            _log.failure("request {name} failed", name=name)
            answer = {"error": f"{name}: {error!r}"}
        self.say({"request": number, **answer})

    def connectionLost(self, reason: Failure | None = None) -> None:
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()


class _ControlRequests(Requests):
    """
    The requests of one connection to a lab that stands alone, which ends only when told to.
    """

    def lineReceived(self, line: bytes) -> None:
        if json.loads(line)[1] == END_REQUEST:
            self._reactor.stop()
        else:
            super().lineReceived(line)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Others will come.
        """


def stand(
    listening: IReactorUNIX,
    reactor: IReactorCore,
    engine: Any,
    folder: str,
    ready: dict[str, Any],
) -> None:
    """
    Let whoever may use the folder control the lab, until it ends, and the folder with it.
    """
    factory: Any = Factory.forProtocol(lambda: _ControlRequests(reactor, engine))
    listening.listenUNIX(os.path.join(folder, CONTROL_SOCKET), factory)
    record = attrs.evolve(readRecord(folder), pid=os.getpid(), **ready)
    writeRecord(folder, record)
    reactor.addSystemEventTrigger("after", "shutdown", shutil.rmtree, folder, True)
