"""
How many bytes a relay passes on for each second that it computes, beside coturn.

Each relay has the first processor core to itself, and the generator the second one. The generator
keeps a window of packets of 1,200 bytes under way, so that none is lost; streams are written as
fast as they are taken.

Owns: the relays, the generator, the comparison.
Knows nothing of: how data is relayed.
Driven by: C{python benchmarks/relay.py [--json] [--rounds N] [--seconds N]}.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet import task
from twisted.internet.defer import Deferred

from holepunch.address import TransportAddress
from holepunch.rendezvous.relay import RelayService
from holepunch.stun import (
    Attribute,
    AttributeType,
    LongTermClient,
    Message,
    Method,
    ReceivedMessage,
    ResponseFate,
    decode,
)
from holepunch.turn import encodeChannelData, mintCredential

if TYPE_CHECKING:
    from benchmarks.child import Child, python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
    from benchmarks.mmsg import Batch
else:
    from child import Child, python, running, say
    from comparison import Comparison, measureInTurn, publish
    from mmsg import Batch

HOST = "127.0.0.1"
# Another host than the relay: to its own host it relays in another way.
PEER_HOST = "127.0.0.2"
SERVER_CORE, GENERATOR_CORE = 0, 1
SECRET, REALM = b"benchmark", "example.org"
PACKET, WINDOW, CHANNEL = 1200, 64, 0x4000
CHUNK = 1 << 18
PATIENCE = 0.05
START_SECONDS = 5.0
UDP, TCP = 17, 6
T = AttributeType

COTURN = "turnserver"
COTURN_OPTIONS = (
    "-n -m 1 --no-tls --no-dtls --no-cli --log-file=/dev/null --allow-loopback-peers --no-rfc5780"
    f" --use-auth-secret --static-auth-secret={SECRET.decode()} -r {REALM} -L {HOST} -E {HOST}"
)
SERVERS = {COTURN: "coturn", "holepunch": "embedded relay"}


@attrs.frozen
class Load:
    """
    What one run came to, in megabytes of payload as they leave the relay.
    """

    perProcessorSecond: float
    perSecond: float
    busy: float


class Client:
    """
    A client with an allocation, and a socket that is asked and answers in turn.
    """

    def __init__(self, port: int, isTCP: bool = False, login: LongTermClient | None = None) -> None:
        kind = socket.SOCK_STREAM if isTCP else socket.SOCK_DGRAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.settimeout(START_SECONDS)
        self.socket.connect((HOST, port))
        credential = mintCredential(SECRET, "alice", int(time.time()) + 3600)
        self.login = login or LongTermClient(credential.username, credential.password)

    def ask(self, method: Method, *attributes: Attribute) -> ReceivedMessage:
        """
        Ask, with the credential.
        """
        while True:
            message = Message.request(method, os.urandom(12), attributes)
            self.socket.send(self.login.encode(message))
            response = decode(self.socket.recv(2048))
            if self.login.receiveResponse(response) is not ResponseFate.RETRY:
                if response.error is not None:
                    raise RuntimeError(f"{method.name}: {response.error}")
                return response

    def allocate(self, transport: int = UDP) -> TransportAddress:
        """
        Get a relayed address.
        """
        response = self.ask(Method.ALLOCATE, Attribute(T.REQUESTED_TRANSPORT, transport))
        relayed: TransportAddress = response.get(T.XOR_RELAYED_ADDRESS)
        return relayed

    def bind(self, peer: TransportAddress) -> None:
        """
        Get a channel to a peer.
        """
        self.ask(
            Method.CHANNEL_BIND,
            Attribute(T.CHANNEL_NUMBER, CHANNEL),
            Attribute(T.XOR_PEER_ADDRESS, peer),
        )


# --- what is measured ---------------------------------------------------------------------------


def packets(source: socket.socket, data: bytes, sink: socket.socket, seconds: float) -> int:
    """
    Keep packets under way from one UDP socket to another.

    @return: How many bytes of payload arrived.
    """
    outgoing = Batch(WINDOW, len(data), isNamed=False)
    for index in range(WINDOW):
        outgoing.put(index, data)
    incoming = Batch(WINDOW, 2048, isNamed=False)
    waiting = select.poll()
    waiting.register(sink, select.POLLIN)
    arrived, until = 0, time.perf_counter() + seconds
    outgoing.send(source.fileno(), WINDOW)
    while time.perf_counter() < until:
        count = incoming.receive(sink.fileno())
        if count:
            arrived += count
            outgoing.send(source.fileno(), count)
        elif not waiting.poll(PATIENCE * 1000):
            # Everything that was under way is lost.
            outgoing.send(source.fileno(), WINDOW)
    return arrived * PACKET


def toPeer(port: int) -> Callable[[float], int]:
    """
    ChannelData over UDP to a program that knows nothing of the relay.
    """
    client, sink = Client(port), _sink()
    client.allocate()
    client.bind(_addressOf(sink))
    return partial(packets, client.socket, _channelData(), sink)


def fromPeer(port: int) -> Callable[[float], int]:
    """
    From such a program into ChannelData.
    """
    client, source = Client(port), _sink()
    relayed = client.allocate()
    client.bind(_addressOf(source))
    source.connect((relayed.host, relayed.port))
    return partial(packets, source, os.urandom(PACKET), client.socket)


def pair(port: int) -> Callable[[float], int]:
    """
    From one client to another one, by the relayed addresses of both.
    """
    one, other = Client(port), Client(port)
    here, there = one.allocate(), other.allocate()
    one.bind(there)
    other.bind(here)
    return partial(packets, one.socket, _channelData(), other.socket)


def overTCP(port: int) -> Callable[[float], int]:
    """
    ChannelData over TCP to a peer over UDP, a window at a time.
    """
    client, sink = Client(port, isTCP=True), _sink()
    client.allocate()
    client.bind(_addressOf(sink))

    def run(seconds: float) -> int:
        window = _channelData() * WINDOW
        incoming = Batch(WINDOW, 2048, isNamed=False)
        waiting = select.poll()
        waiting.register(sink, select.POLLIN)
        arrived, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            client.socket.sendall(window)
            left = WINDOW
            while left > 0 and waiting.poll(PATIENCE * 1000):
                count = incoming.receive(sink.fileno())
                arrived += count
                left -= count
        return arrived * PACKET

    return run


def stream(port: int) -> Callable[[float], int]:
    """
    A TCP connection through the relay (RFC 6062), in large writes.
    """
    client = Client(port, isTCP=True)
    client.allocate(TCP)
    listener = socket.create_server((PEER_HOST, 0))
    peer = Attribute(T.XOR_PEER_ADDRESS, _addressOf(listener))
    number = client.ask(Method.CONNECT, peer).get(T.CONNECTION_ID)
    sink = listener.accept()[0]
    data = Client(port, isTCP=True, login=client.login)
    data.ask(Method.CONNECTION_BIND, Attribute(T.CONNECTION_ID, number))
    data.socket.setblocking(False)
    sink.setblocking(False)

    def run(seconds: float) -> int:
        chunk, arrived = bytes(CHUNK), 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            select.select([sink], [], [], PATIENCE / 10)
            with contextlib.suppress(BlockingIOError):
                data.socket.send(chunk)
            with contextlib.suppress(BlockingIOError):
                arrived += len(sink.recv(CHUNK))
        # The allocation ends with its connection.
        assert client.socket.fileno() >= 0
        return arrived

    return run


TRAFFIC: dict[str, Callable[[int], Callable[[float], int]]] = {
    "UDP, client to peer": toPeer,
    "UDP, peer to client": fromPeer,
    "UDP, client to client": pair,
    "client over TCP, to a UDP peer": overTCP,
    "TCP connection through the relay": stream,
}


def _sink() -> socket.socket:
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind((PEER_HOST, 0))
    return sink


def _addressOf(bound: socket.socket) -> TransportAddress:
    return TransportAddress(*bound.getsockname())


def _channelData() -> bytes:
    return encodeChannelData(CHANNEL, os.urandom(PACKET))


# --- the relays -----------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(name: str) -> Iterator[tuple[Child, int]]:
    """
    Run a relay as long as the block lasts.

    @return: The process and its port.
    """
    if name == COTURN:
        with contextlib.closing(socket.create_server((HOST, 0))) as probe:
            port = probe.getsockname()[1]
        with running(
            COTURN, *COTURN_OPTIONS.split(), "-p", str(port), core=SERVER_CORE, isSilent=True
        ) as child:
            until = time.monotonic() + START_SECONDS
            while not _isListening(port):
                if time.monotonic() > until:
                    raise RuntimeError("coturn does not answer")
                time.sleep(PATIENCE)
            yield child, port
    else:
        with running(*python(__file__, "--serve"), core=SERVER_CORE) as child:
            yield child, child.says()["port"]


def _isListening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port)):
        return True
    return False


def measure(name: str, prepare: Callable[[int], Callable[[float], int]], seconds: float) -> Load:
    """
    Measure one relay once, with one kind of traffic.
    """
    with serving(name) as (child, port):
        run = prepare(port)
        run(seconds / 10)
        before, startedAt = child.processorSeconds(), time.perf_counter()
        megabytes = run(seconds) / 1e6
        took = time.perf_counter() - startedAt
        used = child.processorSeconds() - before
    return Load(megabytes / max(used, 0.01), megabytes / took, used / took)


def serve(reactor: Any) -> Deferred[None]:
    """
    Be the embedded relay.
    """
    relay = RelayService(
        reactor, [TransportAddress(HOST, 0)], secret=SECRET, realm=REALM, allowed=["127.0.0.0/8"]
    )
    relay.startService()
    say(port=relay.servers[0].port)
    return Deferred()


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        task.react(serve)
    os.sched_setaffinity(0, {GENERATOR_CORE % (os.cpu_count() or 1)})
    names = [name for name in SERVERS if name != COTURN or shutil.which(COTURN)]
    comparisons = []
    for traffic, prepare in TRAFFIC.items():
        subjects: dict[str, Callable[[], Load]] = {
            SERVERS[name]: partial(measure, name, prepare, options.seconds) for name in names
        }
        measured = measureInTurn(subjects, options.rounds)
        for field, title, digits in (
            ("perProcessorSecond", "MB a processor second", 1),
            ("perSecond", "MB a second", 1),
            ("busy", "busy: share of the relay's core", 2),
        ):
            samples = {
                name: [getattr(each, field) for each in loads] for name, loads in measured.items()
            }
            comparisons.append(
                Comparison(
                    title=f"{traffic}: {title}",
                    reference=None if field == "busy" else SERVERS[names[0]],
                    samples=samples,
                    digits=digits,
                )
            )
    publish(comparisons, options.rounds, options.json)


if __name__ == "__main__":
    main()
