"""
How many Binding requests a second the assist listener answers, beside coturn.

Each server has the first processor core to itself, and the generator the second one. The generator
asks over several sockets, a window of requests each, and asks again as answers come. What it can do
at most shows beside an echo that does nothing else. The service's rate limit is lifted.

Owns: the servers, the generator, the comparison.
Knows nothing of: how requests are answered.
Driven by: C{python benchmarks/stun.py [--json] [--rounds N] [--seconds N]}.
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
from twisted.internet.protocol import DatagramProtocol

from holepunch.address import TransportAddress
from holepunch.identity import Identity
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.service import RendezvousService
from holepunch.stun import Message, Method

if TYPE_CHECKING:
    from benchmarks.child import Child, python, running, say
    from benchmarks.comparison import Comparison, measureInTurn, publish
    from benchmarks.mmsg import Batch
else:
    from child import Child, python, running, say
    from comparison import Comparison, measureInTurn, publish
    from mmsg import Batch

HOST = "127.0.0.1"
SERVER_CORE, GENERATOR_CORE = 0, 1
REQUEST_SIZE, ANSWER_SIZE = 20, 32
SUCCESS = b"\x01\x01"
SOCKETS, WINDOW = 4, 64
PATIENCE_MS = 50
START_SECONDS = 5.0
UNLIMITED = 1_000_000_000

COTURN = "turnserver"
#: As brief as it can be: an answer of 32 bytes, like ours; and nothing but STUN.
COTURN_OPTIONS = (
    "-n -S -m 1 --no-tls --no-dtls --no-tcp --no-cli --no-software-attribute --no-rfc5780"
    " --response-origin-only-with-rfc5780 --no-stun-backward-compatibility --log-file=stdout"
)
SERVERS = {
    COTURN: "coturn",
    "holepunch": "assist listener",
    "echo": "Twisted's DatagramProtocol, echo only",
    "batches": "recvmmsg and sendmmsg, echo only",
}


@attrs.frozen
class Load:
    """
    What one run came to.

    @ivar rate: Answers a second.
    @ivar perProcessorSecond: Answers for each second that the server computed.
    @ivar busy: The share of its core that the server took.
    @ivar generatorBusy: The share of its core that the generator took.
    @ivar lost: The share of the requests that got no answer.
    """

    rate: float
    perProcessorSecond: float
    busy: float
    generatorBusy: float
    lost: float


class Asker:
    """
    One socket of the generator, and its window of requests.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((HOST, port))
        self._descriptor = self.socket.fileno()
        self._requests = Batch(WINDOW, REQUEST_SIZE, isNamed=False)
        self._answers = Batch(WINDOW, 256, isNamed=False)
        for index in range(WINDOW):
            request = Message.request(Method.BINDING, os.urandom(12))
            self._requests.put(index, request.encode(fingerprint=False))

    def ask(self, count: int = WINDOW) -> int:
        """
        Send requests.

        @return: How many left.
        """
        return self._requests.send(self._descriptor, count)

    def collect(self) -> int:
        """
        Take the answers that are there.
        """
        count = self._answers.receive(self._descriptor)
        if count and self._answers.get(0)[:2] != SUCCESS:
            raise RuntimeError(f"{self._answers.get(0)!r} is no answer")
        return count


def isAnswering(port: int) -> bool:
    """
    Does the server answer?
    """
    with contextlib.closing(Asker(port).socket) as probe:
        probe.settimeout(PATIENCE_MS / 1000)
        try:
            probe.send(Message.request(Method.BINDING, os.urandom(12)).encode(fingerprint=False))
            return bool(probe.recv(256))
        except OSError:
            return False


def generate(port: int, seconds: float) -> tuple[int, int]:
    """
    Ask for so long.

    @return: How many requests were sent, and how many answers came.
    """
    askers = [Asker(port) for _ in range(SOCKETS)]
    waiting = select.poll()
    for asker in askers:
        waiting.register(asker.socket, select.POLLIN)
    sent, answered = sum(asker.ask() for asker in askers), 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        came = 0
        for asker in askers:
            count = asker.collect()
            if count:
                came += count
                sent += asker.ask(count)
        answered += came
        if not came and not waiting.poll(PATIENCE_MS):
            # Everything that was under way is lost.
            sent += sum(asker.ask() for asker in askers)
    for asker in askers:
        asker.socket.close()
    return sent, answered


@contextlib.contextmanager
def serving(name: str) -> Iterator[tuple[Child, int]]:
    """
    Run a server as long as the block lasts.

    @return: The process and its port.
    """
    if name == COTURN:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        where = f"-L {HOST} -p {port}"
        with running(
            COTURN, *COTURN_OPTIONS.split(), *where.split(), core=SERVER_CORE, isSilent=True
        ) as child:
            until = time.monotonic() + START_SECONDS
            while not isAnswering(port):
                if time.monotonic() > until:
                    raise RuntimeError("coturn does not answer")
            yield child, port
    else:
        with running(*python(__file__, "--serve", name), core=SERVER_CORE) as child:
            yield child, child.says()["port"]


def measure(name: str, seconds: float) -> Load:
    """
    Measure one server once.
    """
    with serving(name) as (child, port):
        generate(port, seconds / 10)
        usedBefore, generatorBefore = child.processorSeconds(), time.process_time()
        startedAt = time.perf_counter()
        sent, answered = generate(port, seconds)
        took = time.perf_counter() - startedAt
        used = child.processorSeconds() - usedBefore
    return Load(
        rate=answered / took,
        perProcessorSecond=answered / max(used, 0.01),
        busy=used / took,
        generatorBusy=(time.process_time() - generatorBefore) / took,
        lost=max(0, sent - answered - SOCKETS * WINDOW) / sent,
    )


class Mirror(DatagramProtocol):
    """
    Sends back as many bytes as an answer has.
    """

    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back, as if it were an answer.
        """
        self.transport.write(SUCCESS + datagram[2:] + bytes(ANSWER_SIZE - REQUEST_SIZE), addr)


def echoBatches() -> None:
    """
    Send everything back, in batches; what the kernel received goes out again untouched.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((HOST, 0))
    say(port=bound.getsockname()[1])
    descriptor = bound.fileno()
    batch = Batch(WINDOW, ANSWER_SIZE, isNamed=True)
    while True:
        count = batch.receive(descriptor, isPatient=True)
        for index in range(count):
            batch.mark(index, SUCCESS)
        batch.send(descriptor, count)


def serve(reactor: Any, name: str) -> Deferred[None]:
    """
    Be one of the servers.
    """
    if name == "echo":
        say(port=reactor.listenUDP(0, Mirror(), interface=HOST).getHost().port)
    else:
        service = RendezvousService(
            reactor,
            Identity.generate(),
            main=[f"tcp:0:interface={HOST}"],
            assist=[TransportAddress(HOST, 0)],
            limits=Limits(assistRequestsPerSecond=UNLIMITED, assistBurst=UNLIMITED),
        )
        service.startService()
        say(port=service.assistAddresses[0].port)
    return Deferred()


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--serve", choices=list(SERVERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "batches":
        echoBatches()
    elif options.serve is not None:
        task.react(serve, (options.serve,))
    os.sched_setaffinity(0, {GENERATOR_CORE % (os.cpu_count() or 1)})
    names = [name for name in SERVERS if name != COTURN or shutil.which(COTURN)]
    subjects: dict[str, Callable[[], Load]] = {
        SERVERS[name]: partial(measure, name, options.seconds) for name in names
    }
    measured = measureInTurn(subjects, options.rounds)
    titles = {
        "rate": ("answers a second", 0),
        "perProcessorSecond": ("answers a processor second", 0),
        "busy": ("busy: share of the server's core", 2),
        "generatorBusy": ("busy: share of the generator's core", 2),
        "lost": ("requests without an answer: share", 4),
    }
    comparisons = [
        Comparison(
            title=title,
            reference=SERVERS[names[0]] if field in ("rate", "perProcessorSecond") else None,
            samples={
                name: [getattr(each, field) for each in loads] for name, loads in measured.items()
            },
            digits=digits,
        )
        for field, (title, digits) in titles.items()
    ]
    publish(comparisons, options.rounds, options.json)


if __name__ == "__main__":
    main()
