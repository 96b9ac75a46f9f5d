"""
Pipes and files as standard input and output of the classes under test.

A descriptor that is closed while a thread still reads from it may get a new meaning, so each class
here closes only what nobody uses any more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from holepunch.cli.standardstreams import StandardInput, StandardOutput

reactor: Any = installedReactor


class Taker:
    """
    Takes what is read.

    @ivar first: Fires with the first piece.
    @ivar ended: Fires at the end, with the error if there was one.
    """

    def __init__(self, standardInput: StandardInput) -> None:
        self.pieces: list[bytes] = []
        self.first: Deferred[None] = Deferred()
        self.ended: Deferred[OSError | None] = Deferred()
        standardInput.attach(self.take, self.ended.callback)

    def take(self, data: bytes) -> None:
        self.pieces.append(data)
        if not self.first.called:
            self.first.callback(None)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


class InputPipe:
    """
    A pipe to be read from as standard input.
    """

    def __init__(self, case: TestCase, isBlocking: bool = True) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, isBlocking)
        self.input = StandardInput(reactor, self.reader)
        self._isOpen = True
        case.addCleanup(self._finish)

    def write(self, data: bytes) -> None:
        os.write(self._writer, data)

    def end(self) -> None:
        """
        Close the end that is written to.
        """
        if self._isOpen:
            self._isOpen = False
            os.close(self._writer)

    async def _finish(self) -> None:
        self.end()
        await Taker(self.input).ended
        os.close(self.reader)


class InputFile:
    """
    A file, or a directory, to be read from as standard input.
    """

    def __init__(self, case: TestCase, path: str | Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.input = StandardInput(reactor, self.descriptor)
        case.addCleanup(self._finish)

    async def _finish(self) -> None:
        await Taker(self.input).ended
        os.close(self.descriptor)


class OutputPipe:
    """
    A pipe to be written to as standard output.
    """

    def __init__(self, case: TestCase, isBlocking: bool = True) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(writer, isBlocking)
        self.output = StandardOutput(reactor, writer)
        self._isOpen = True
        case.addCleanup(self._finish)

    def closeReader(self) -> None:
        """
        Stop reading for ever.
        """
        if self._isOpen:
            self._isOpen = False
            os.close(self.reader)

    async def _finish(self) -> None:
        self.closeReader()
        await self.output.finish()


class OutputFile:
    """
    A file to be written to as standard output.
    """

    def __init__(self, case: TestCase) -> None:
        self._path = Path(case.mktemp())
        self.output = StandardOutput(reactor, os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
        case.addCleanup(self.output.finish)

    @property
    def data(self) -> bytes:
        return self._path.read_bytes()
