"""
Joining a connection to standard input and output, as nc does.

Owns: which end of the one closes which end of the other, and who pauses whom.
Knows nothing of: how the connection came to be.
Driven by: C{holepunch listen} and C{holepunch connect}.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock

from holepunch.cli.connection import ConnectionProtocol
from holepunch.cli.standardstreams import StandardInput, StandardOutput
from holepunch.errors import LocalStreamFailed


class Join(ConnectionProtocol):
    """
    One connection joined to one input and one output.

    The end of the input closes our direction of the connection; the end of the peer's direction
    closes the output. It is finished when both have ended and everything is written.
    """

    def __init__(
        self,
        standardInput: StandardInput,
        standardOutput: StandardOutput,
        turn: DeferredLock | None = None,
    ) -> None:
        """
        @param turn: Where connections are joined one after the other: held by the one that is.
            Without it this connection is the only one, so it closes the output.
        """
        super().__init__()
        self._input = standardInput
        self._output = standardOutput
        self._turn = turn or DeferredLock()
        self._isOnly = turn is None
        self._openDirections = 2
        self._isJoined = False
        self._isLost = False
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        """
        Join as soon as it is our turn.
        """
        self.connection.pauseProducing()
        self._turn.acquire().addCallback(lambda _: self._join())

    def _join(self) -> None:
        self._isJoined = True
        for data in self._early:
            self._output.write(data)
        if self._isLost:
            self._leave()
            return
        self.connection.registerProducer(self._input, True)
        self._input.attach(self.connection.write, self._inputEnded)
        self._output.attach(self.connection, self._outputBroken)
        self.connection.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        From the peer to the output.
        """
        if self._isJoined:
            self._output.write(data)
        else:
            # Little: the connection is paused.
            self._early.append(data)

    def _inputEnded(self, error: OSError | None) -> None:
        self.connection.unregisterProducer()
        if error is None:
            self.connection.loseWriteConnection()
        else:
            # The peer must not take a part for the whole.
            self._fail(f"cannot read standard input: {error.strerror}")

    def _outputBroken(self, error: OSError) -> None:
        self._fail(f"cannot write to standard output: {error.strerror}")

    def _fail(self, sentence: str) -> None:
        self.error = LocalStreamFailed(sentence)
        self.abort()

    def readConnectionLost(self) -> None:
        """
        The peer sends no more: whoever reads our output is told so.
        """
        if self._isOnly:
            self._output.finish()
        self._directionEnded()

    def writeConnectionLost(self) -> None:
        """
        Everything that we had is sent.
        """
        self._directionEnded()

    def _directionEnded(self) -> None:
        self._openDirections -= 1
        if self._openDirections == 0:
            self.connection.loseConnection()

    def ended(self) -> None:
        """
        Let the output finish, then tell who waits.
        """
        self._isLost = True
        if self._isJoined:
            self._leave()

    def _leave(self) -> None:
        self._input.detach()
        self._output.detach()
        flushed = self._output.finish() if self._isOnly else self._output.flush()
        flushed.addCallback(lambda _: self._left())

    def _left(self) -> None:
        self._turn.release()
        self.finish()
