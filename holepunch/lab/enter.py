"""
Run a command inside a host of the lab: C{enter.py ENGINE FD USER -- COMMAND…}.

Owns: joining the namespaces that the engine process holds open, then becoming the command.
Knows nothing of: the rest of txholepunch, which it does not import: it is run as a script, once
for each command, and has to start fast.
Driven by: the argument list that L{NamespaceLab.command} makes.

C{ENGINE} is the process that holds the lab, C{FD} its descriptor of the host's network namespace,
C{USER} is 1 when the lab has a user namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys

_NEW_USER = 0x10000000
_NEW_NET = 0x40000000


def _join(path: str, kind: int) -> None:
    with open(path, "rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), kind) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)


def main(arguments: list[str]) -> str:
    """
    Become the command; come back only with the sentence that says why that failed.
    """
    engine, descriptor, hasUser, _, *command = arguments
    try:
        if hasUser == "1":
            _join(f"/proc/{engine}/ns/user", _NEW_USER)
        _join(f"/proc/{engine}/fd/{descriptor}", _NEW_NET)
    except OSError as error:
        return f"The lab cannot be entered, it may have ended: {error}"
    try:
        os.execvp(command[0], command)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"


if __name__ == "__main__":
    print(main(sys.argv[1:]), file=sys.stderr)
    raise SystemExit(127)
