"""
A program that a benchmark starts, and what the kernel (Linux) says of it.

Owns: starting and ending one process, the JSON lines it says, its processor time and its memory.
Knows nothing of: what the program does.
Driven by: the scripts beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, cast

_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """
    One process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self) -> dict[str, Any]:
        """
        Wait for the next line that it prints.
        """
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended")
        return cast("dict[str, Any]", json.loads(line))

    def tell(self, **values: Any) -> None:
        """
        Give it a line to read.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()

    def processorSeconds(self) -> float:
        """
        User and system time of all its threads, to a hundredth.
        """
        with open(f"/proc/{self._process.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def residentBytes(self) -> int:
        """
        Its resident set.
        """
        with open(f"/proc/{self._process.pid}/smaps_rollup", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not tell the resident set")

    def end(self) -> None:
        """
        End it, however it is: it keeps nothing.
        """
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def running(*command: str, core: int | None = None, isSilent: bool = False) -> Iterator[Child]:
    """
    Run a program as long as the block lasts.

    @param core: The one processor core that it may use.
    @param isSilent: It says nothing that anybody reads.
    """
    output = subprocess.DEVNULL if isSilent else subprocess.PIPE
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if isSilent else None,
        text=True,
    )
    child = Child(process)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield child
    finally:
        child.end()


def python(script: str, *arguments: str) -> Sequence[str]:
    """
    The command that runs a script in another interpreter like this one.
    """
    return (sys.executable, script, *arguments)


def say(**values: Any) -> None:
    """
    In the child: print a line for L{Child.says}.
    """
    print(json.dumps(values), flush=True)
