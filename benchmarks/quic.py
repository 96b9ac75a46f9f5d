"""
How fast a QUIC stream over a punched UDP path is, beside the bare QUIC library.

Both run between two processes over loopback, with packets of the same size. The bare library is
qh3's own connection in the simplest loop over a UDP socket: no streams as transports, no path, and
no proof of who the client is. Processor time is that of both processes.

Owns: the two subjects and their comparison.
Knows nothing of: hole punching: a path that was punched is an ordinary UDP socket.
Driven by: C{python benchmarks/quic.py [--json] [--rounds N] [--megabytes N]}.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from qh3._hazmat import pull_quic_header
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.identity import Identity, PeerID
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.datagramport import DatagramPort
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.quic import QUICConnection
from holepunch.peer.quicstream import QUICStream
from holepunch.peer.quictls import useIdentity
from holepunch.punch import Candidate, CandidateType, Credentials, Path, SessionConfig

if TYPE_CHECKING:
    from benchmarks.child import python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
    from benchmarks.stream import Receiver, Source
else:
    from child import python, running, say
    from comparison import Comparison, measureInTurn, publish
    from stream import Receiver, Source

HOST = "127.0.0.1"
CHUNK = 1 << 16
BACKLOG = 1 << 18
DATAGRAM = 1200
BUFFER = 1 << 22
BATCH = 256
MEGABYTE = 1_000_000

SUBJECTS = {"bare": "bare qh3", "stream": "QUICStream over a DatagramPath"}


# --- our stream -----------------------------------------------------------------------------------


class _Session:
    """
    The session of a path that needs none.
    """

    def probe(self) -> None:
        """
        Nothing is proven here.
        """

    def end(self, reason: Exception) -> None:
        """
        The program ends instead.
        """


class _Sink:
    """
    Passes a path's datagrams on, as a session's driver does.
    """

    def __init__(self, path: DatagramPath) -> None:
        self._path = path

    def datagramReceived(
        self, local: TransportAddress, remote: TransportAddress, data: bytes
    ) -> None:
        """
        The short way.
        """
        self._path.takes(local, remote, data)


def openPort(reactor: Any) -> DatagramPort:
    """
    A UDP socket as peers have.
    """
    port = DatagramPort(Demultiplexer())
    port.listen(reactor, HOST)
    return port


def openPath(reactor: Any, port: DatagramPort, remotePort: int, ids: Any) -> DatagramPath:
    """
    A path from C{port} to another one.
    """
    remote = TransportAddress(HOST, remotePort)
    here, there = (
        Candidate(
            foundation="1",
            transport=Transport.UDP,
            priority=1,
            address=address,
            type=CandidateType.HOST,
        )
        for address in (port.base, remote)
    )
    path = Path(
        transport=Transport.UDP,
        local=port.base,
        remote=remote,
        localCandidate=here,
        remoteCandidate=there,
    )
    config = SessionConfig(
        isControlling=True, localCredentials=Credentials("ufrag", "password" * 4), randomBytes=bytes
    )
    opened = DatagramPath(reactor, port, path, ids, config, _Session())
    port.addRoute(remote, _Sink(opened))
    return opened


class Sender(Protocol):
    """
    Sends so many bytes, and waits until the receiver has everything.
    """

    transport: Any

    def __init__(self, size: int) -> None:
        self._size = size
        self._usedBefore = 0.0
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """
        Begin.
        """
        self._usedBefore = time.process_time()
        Source(self.transport, self._size, bytes(CHUNK))

    def dataReceived(self, data: bytes) -> None:
        """
        The end.
        """
        say(used=time.process_time() - self._usedBefore)
        self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Too early?
        """
        if not self.done.called:
            self.done.errback(reason)


def receiveStream(reactor: Any, options: argparse.Namespace) -> Deferred[None]:
    """
    In a process of its own: the side that counts.
    """
    identity = Identity.generate()
    port = openPort(reactor)
    say(port=port.base.port, peer=identity.peerID.text)
    answer = json.loads(input())
    remote = PeerID(answer["peer"])

    def opened(stream: QUICStream, application: bytes) -> None:
        stream.attach(Receiver(options.size, False))

    path = openPath(reactor, port, answer["port"], (identity.peerID, remote))
    connection = QUICConnection(
        reactor, path, identity, remote, isClient=False, streamOpened=opened
    )
    return connection.whenLost()


async def sendStream(reactor: Any, options: argparse.Namespace) -> None:
    """
    In a process of its own: the side that sends.
    """
    identity, remote = Identity.generate(), PeerID(options.peer)
    port = openPort(reactor)
    say(port=port.base.port, peer=identity.peerID.text)
    path = openPath(reactor, port, options.port, (identity.peerID, remote))
    connection = QUICConnection(
        reactor,
        path,
        identity,
        remote,
        isClient=True,
        streamOpened=lambda stream, name: stream.refuse(),
    )
    await connection.whenConnected()
    sender = Sender(options.size)
    connection.openStream(b"benchmark").attach(sender)
    await sender.done


# --- the bare library -----------------------------------------------------------------------------


class Bare:
    """
    One of qh3's own connections on a UDP socket, and the simplest loop around it.
    """

    def __init__(self, isClient: bool) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self.socket.bind((HOST, 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.configuration = QuicConfiguration(
            is_client=isClient, max_datagram_size=DATAGRAM, probe_datagram_size=False
        )
        useIdentity(self.configuration, Identity.generate())
        self.quic: Any = None

    def step(self) -> list[Any]:
        """
        Send, wait, receive.

        @return: What happened.
        """
        now = time.monotonic()
        timer = None
        if self.quic is not None:
            for packet, destination in self.quic.datagrams_to_send(now):
                with contextlib.suppress(BlockingIOError):
                    self.socket.sendto(packet, destination)
            timer = self.quic.get_timer()
        select.select([self.socket], [], [], None if timer is None else max(timer - now, 0.0))
        received: list[bytes] = []
        address: Any = None
        with contextlib.suppress(BlockingIOError):
            while len(received) < BATCH:
                data, address = self.socket.recvfrom(2048)
                received.append(data)
        now = time.monotonic()
        if received and self.quic is None:
            self.quic = QuicConnection(
                configuration=self.configuration,
                original_destination_connection_id=pull_quic_header(received[0], 0, 8)[3],
            )
        if received:
            self.quic.receive_many_datagrams(received, address, now)
        if timer is not None and timer <= now:
            self.quic.handle_timer(now)
        return list(iter(self.quic.next_event, None))


def receiveBare(options: argparse.Namespace) -> None:
    """
    In a process of its own: the side that counts.
    """
    bare = Bare(False)
    say(port=bare.port)
    left = options.size
    startedAt = usedBefore = 0.0
    while True:
        for event in bare.step():
            if not isinstance(event, events.StreamDataReceived):
                continue
            if not startedAt:
                startedAt, usedBefore = time.perf_counter(), time.process_time()
            left -= len(event.data)
            if left == 0:
                say(
                    seconds=time.perf_counter() - startedAt,
                    used=time.process_time() - usedBefore,
                )
                bare.quic.send_stream_data(event.stream_id, b"!")


def sendBare(options: argparse.Namespace) -> None:
    """
    In a process of its own: the side that sends.
    """
    bare = Bare(True)
    bare.quic = QuicConnection(configuration=bare.configuration)
    bare.quic.connect((HOST, options.port), time.monotonic())
    while not any(isinstance(event, events.HandshakeCompleted) for event in bare.step()):
        pass
    usedBefore = time.process_time()
    stream, left, chunk = bare.quic.get_next_available_stream_id(), options.size, bytes(CHUNK)
    isDone = False
    while not isDone:
        while left > 0 and bare.quic.get_send_buffer_size(stream) < BACKLOG:
            bare.quic.send_stream_data(stream, chunk[:left])
            left -= len(chunk[:left])
        isDone = any(isinstance(event, events.StreamDataReceived) for event in bare.step())
    say(used=time.process_time() - usedBefore)


# --- both -----------------------------------------------------------------------------------------


def transfer(subject: str, size: int) -> tuple[float, float]:
    """
    Measure once.

    @return: Seconds, and seconds of processor time.
    """
    arguments = (f"--subject={subject}", f"--size={size}")
    with running(*python(__file__, "--role=receive", *arguments)) as receiver:
        there = receiver.says()
        where = (f"--port={there['port']}", f"--peer={there.get('peer', '')}")
        with running(*python(__file__, "--role=send", *where, *arguments)) as sender:
            if subject == "stream":
                receiver.tell(**sender.says())
            received, sent = receiver.says(), sender.says()
    return received["seconds"], received["used"] + sent["used"]


def play(options: argparse.Namespace) -> None:
    """
    Be one of the two processes.
    """
    if options.subject == "bare":
        {"receive": receiveBare, "send": sendBare}[options.role](options)
    else:
        roles: dict[str, Any] = {"receive": receiveStream, "send": sendStream}
        task.react(roles[options.role], (options,))


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=float, default=100)
    for hidden in ("--role", "--subject", "--peer"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--size", "--port"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        play(options)
        return
    size = int(options.megabytes * MEGABYTE)
    measured = measureInTurn(
        {name: partial(transfer, subject, size) for subject, name in SUBJECTS.items()},
        options.rounds,
    )
    comparisons = [
        Comparison(
            title=f"one stream, {CHUNK >> 10} KiB a write: MB a {span}",
            reference=SUBJECTS["bare"],
            samples={
                name: [options.megabytes / each[column] for each in values]
                for name, values in measured.items()
            },
        )
        for column, span in enumerate(("second", "processor second"))
    ]
    publish(comparisons, options.rounds, options.json)


if __name__ == "__main__":
    main()
