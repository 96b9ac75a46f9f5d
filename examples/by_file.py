"""
Two programs greet each other, with no service between them: what they have to tell, files carry.

Run `python examples/by_file.py KEY` on both machines: it prints the peer ID of the key, which is
made if missing. Then, on both, `python examples/by_file.py KEY THEIR-ID OUT IN [STUN ...]`, where
OUT becomes the file IN of the other side: in a shared folder, by mail, on a stick. STUN is any
public STUN server. Whoever reads or alters the files cannot get between the two.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from holepunch import Identity
from holepunch.address import Transport
from holepunch.identity import PeerID
from holepunch.peer import SecureStream, SessionOptions, TextSignalling, openStreamOver

OPTIONS = SessionOptions(transports=frozenset(Transport), timeout=600.0)  # a person is slow


class Greeter(LineOnlyReceiver):
    delimiter = b"\n"
    transport: SecureStream

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.sendLine(f"hello, I am {self.name}".encode())

    def lineReceived(self, line: bytes) -> None:
        print(f"the other side says: {line.decode('utf-8', 'replace')}", flush=True)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class Files:
    def __init__(self, out: str, into: str) -> None:
        self.out, self.into, self.seen = Path(out), Path(into), 0
        self.out.write_text("")

    def write(self, line: str) -> None:
        self.out.write_text(f"{self.out.read_text('utf-8')}{line}\n", "utf-8")

    def look(self, signalling: TextSignalling) -> None:
        lines = self.into.read_text("utf-8").split("\n")[:-1] if self.into.exists() else []
        signalling.received("\n".join(lines[self.seen :]))
        self.seen = len(lines)


async def main(reactor: Any, key: str, remote: str, out: str, into: str, *stun: str) -> None:
    identity, files = Identity.load(key), Files(out, into)
    signalling = TextSignalling(identity.peerID, PeerID(remote), files.write)
    task.LoopingCall(files.look, signalling).start(0.2)
    opening = openStreamOver(
        reactor, identity, PeerID(remote), signalling, stun=stun, options=OPTIONS
    )
    greeter = Greeter(identity.peerID.short)
    (await opening).attach(greeter)
    await greeter.ended


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(Identity.load(sys.argv[1], create=True).peerID)
    elif len(sys.argv) < 5:
        sys.exit(__doc__)
    else:
        task.react(main, sys.argv[1:])
