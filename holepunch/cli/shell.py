"""
Commands that a person writes as he would in a terminal.

Owns: which shell runs them, and in a group of their own; whether the shell would find them.
Knows nothing of: what they are for.
Driven by: L{holepunch.cli.answering} and C{holepunch listen --exec}.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence

from holepunch.errors import UsageError

_SHELL = "/bin/sh"
# Twisted starts a process in our own group. The interpreter ignores two signals that others do not.
_LEAD = """
import os, signal, sys
os.setsid()
for number in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], (sys.argv[1], "-c", sys.argv[2]))
"""
# Neither an assignment nor anything that the shell expands.
_PLAIN_WORD = re.compile(r"[\w./+@%:-]+")


def shellOf(line: str) -> Sequence[str]:
    """
    The program and arguments that run a command line, as the leader of a session and a process
    group of its own where there are such.
    """
    if os.name == "nt":
        return (os.environ.get("COMSPEC", "cmd.exe"), "/c", line)
    return (sys.executable, "-I", "-S", "-c", _LEAD, _SHELL, line)


def checkCommand(line: str) -> None:
    """
    Make sure that the shell understands a command line, and finds its first word.

    @raise UsageError: It does not; the sentence says what is wrong.
    """
    words = line.split()
    if not words:
        raise UsageError("no command is given")
    if os.name == "nt":
        return
    understood = _ask("-n", "-c", line)
    if understood.returncode:
        reason = (understood.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"the shell does not understand the command: {reason}")
    if _PLAIN_WORD.fullmatch(words[0]) and not _isFound(words[0]):
        raise UsageError(f"there is no command {words[0]}")


def _isFound(word: str) -> bool:
    if "/" in word:
        return os.path.isfile(word) and os.access(word, os.X_OK)
    return _ask("-c", 'command -v "$1"', "sh", word).returncode == 0


def _ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (_SHELL, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
