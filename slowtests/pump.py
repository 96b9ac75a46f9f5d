"""
Pumps pseudo-random bytes through a command, and tells what went in and what came out.

Owns: the command's standard input and output, the checksums of both, and what the command took.
Knows nothing of: what the command does; its standard error is ours.
Driven by: the tests beside it, as a program of its own: C{pump.py SEED LEAST COMMAND...}

It sends at least C{LEAST} bytes, and goes on until its own standard input ends. The bytes are made,
summed and forgotten: a gigabyte is nowhere in memory. What it has to say are JSON lines on standard
error, such as the command says itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import IO

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_PIECE = 1 << 16
_ZEROES = bytes(_PIECE)
_STEP = 5_000_000
_KIBIBYTE = 1024


class Tally:
    """
    Bytes that passed.
    """

    def __init__(self) -> None:
        self.size = 0
        self._sum = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """
        These, too.
        """
        self._sum.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """
        The checksum of them all.
        """
        return self._sum.hexdigest()


def tell(event: str, **fields: object) -> None:
    """
    Say something to the test.
    """
    # In one piece: the command writes to the same pipe.
    os.write(2, json.dumps({"event": event, **fields}).encode() + b"\n")


def send(to: IO[bytes], seed: int, least: int, ending: threading.Event, sent: Tally) -> None:
    """
    Send the bytes that belong to a seed, until there are enough and C{ending} is set.
    """
    random = Cipher(AES(seed.to_bytes(16, "big")), CTR(bytes(16))).encryptor()
    try:
        with to:
            while sent.size < least or not ending.is_set():
                rest = least - sent.size
                data = random.update(_ZEROES[:rest] if 0 < rest < _PIECE else _ZEROES)
                to.write(data)
                sent.add(data)
    except BrokenPipeError:
        # The command has ended, and its status says how.
        return


def receive(source: IO[bytes], received: Tally) -> None:
    """
    Take what comes, and tell of the progress now and then.
    """
    told = 0
    while data := os.read(source.fileno(), _PIECE):
        received.add(data)
        if received.size >= told + _STEP:
            told = received.size
            tell("progress", received=told)


def main() -> int:
    """
    Run the command of the arguments to its end.
    """
    seed, least, *command = sys.argv[1:]
    sent, received = Tally(), Tally()
    ending = threading.Event()
    startedAt = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None

    def awaitEnd() -> None:
        sys.stdin.buffer.read()
        ending.set()

    threading.Thread(target=awaitEnd, daemon=True).start()
    sender = threading.Thread(
        target=send, args=(process.stdin, int(seed), int(least), ending, sent), daemon=True
    )
    sender.start()
    receive(process.stdout, received)
    # In place of C{process.wait}: this tells what the command took.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    sender.join()
    tell(
        "pumped",
        sent=sent.size,
        sentDigest=sent.digest,
        received=received.size,
        receivedDigest=received.digest,
        seconds=time.monotonic() - startedAt,
        processor=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * _KIBIBYTE,
    )
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
