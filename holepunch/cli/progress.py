"""
Showing on a terminal what goes on at the moment, and for how long.

Owns: the line that moves.
Knows nothing of: what the steps mean.
Driven by: L{holepunch.cli.output}.
"""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class StepDisplay:
    """
    A spinner, the name of the step and its time, at the lower end of a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._progress: Progress | None = None

    def show(self, step: str) -> None:
        """
        Show a step in place of the one before.

        @param step: Nothing is shown any more where it is empty.
        """
        self.close()
        if step:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.add_task(step)
            self._progress.start()

    def print(self, text: str) -> None:
        """
        Print a line above it.
        """
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """
        Take the line away.
        """
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
