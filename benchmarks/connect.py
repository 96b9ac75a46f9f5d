"""
How long it takes to connect, beside the round trips that cannot be avoided.

Two peers behind port-restricted NATs and a rendezvous service, in the lab of kernel namespaces, the
same round trip between any two of them. Both peers are registered, from their punching ports, so
that the service knows their mapped addresses in advance. The clock runs from the call of C{connect}
to the nominated path, and to the first byte that the other side sent back.

Owns: the network, the bound, the table.
Knows nothing of: how peers connect (C{benchmarks/connectworker.py}).
Driven by: C{python benchmarks/connect.py [--runs N] [--latency SECONDS] [--json] [--trace PREFIX]}.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import LinkSpec, Topology

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connectworker.py")
#: Links between any two hosts: the home network costs nothing.
_LINKS = 2

#: Round trips to a UDP path as measured for other programs, in the same network.
OTHERS = {"hyperdht": 6.1, "iroh": 7.4, "libnice": 8.1, "aioice": 10.6}

_ASK = ("request, and introduction of both peers at once", 1)
_PROVE = ("nominating check and TLS hello in one flight; answer and TLS hello", 1)
_ECHO = ("first data, and its echo", 1)


@attrs.frozen(kw_only=True)
class Kind:
    """
    One way to connect.

    @ivar steps: What has to happen one after the other until the path is nominated, and how many
        round trips each step takes at least.
    @ivar after: The same for the first byte back.
    """

    title: str
    steps: tuple[tuple[str, int], ...]
    after: tuple[tuple[str, int], ...] = (_ECHO,)

    @property
    def pathBound(self) -> int:
        """
        Round trips to the nominated path, at least.
        """
        return sum(count for _, count in self.steps)

    @property
    def echoBound(self) -> int:
        """
        Round trips to the first byte back, at least.
        """
        return self.pathBound + sum(count for _, count in self.after)


KINDS = {
    "udp": Kind(
        title="UDP",
        steps=(_ASK, ("checks open both NATs as they cross; the controlling one is answered", 1)),
    ),
    "tcp-simultaneous": Kind(
        title="TCP, simultaneous",
        steps=(_ASK, ("SYNs open both NATs as they cross; SYN ACKs", 1), _PROVE),
    ),
    "tcp-sequential": Kind(
        title="TCP, sequential",
        steps=(
            _ASK,
            # How long that SYN's connect is kept (punchTime) is a wait, and no round trip.
            ('the other peer\'s SYN opens its NAT; "ready", by way of the service', 1),
            ("SYN; SYN ACK", 1),
            _PROVE,
        ),
    ),
    "relay": Kind(
        title="Relay, UDP",
        steps=(
            ("request, and allocation; introduction of both peers", 1),
            ("the other peer's allocation, and in its flight a check by way of the relay", 1),
        ),
        after=(
            ("handshake of QUIC from one peer to the other and back, by way of the relay", 2),
            ("first data, and its echo, by way of the relay", 2),
        ),
    ),
}


def network(latency: float) -> Topology:
    """
    Two peers in home networks of no latency, behind a port-restricted NAT each.

    @param latency: Of each link to the internet, in seconds, one way.
    """
    topology = Topology.parse("port-restricted/port-restricted", LinkSpec(latency=latency))
    home = LinkSpec(latency=0.0)
    hosts = (attrs.evolve(each, link=home) if each.behind else each for each in topology.hosts)
    return attrs.evolve(topology, hosts=tuple(hosts))


class Worker(ProcessProtocol):
    """
    A program in a host.

    @ivar lines: What it said so far.
    @ivar ended: Fires when it has ended; fails with its last words where it failed.
    """

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.ended: Deferred[None] = Deferred()
        self.ended.addErrback(lambda failure: failure)
        self._first: Deferred[dict[str, Any]] = Deferred()
        self._rest = b""
        self._errors = b""

    def whenSaid(self) -> Deferred[dict[str, Any]]:
        """
        Fires with its first line.
        """
        return self._first

    def outReceived(self, data: bytes) -> None:
        """
        It says something.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.append(json.loads(line))
            if not self._first.called:
                self._first.callback(self.lines[0])

    def errReceived(self, data: bytes) -> None:
        """
        Kept for the case that it fails.
        """
        self._errors += data

    def processEnded(self, reason: Failure) -> None:
        """
        It ended.
        """
        if reason.check(ProcessDone):
            self.ended.callback(None)
            return
        error = RuntimeError(self._errors.decode(errors="replace") or str(reason.value))
        for waiting in (self._first, self.ended):
            if not waiting.called:
                waiting.errback(error)


async def measure(reactor: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """
    Run everything.

    @return: A result for each connection.
    """
    topology = network(options.latency)
    lab = NamespaceLab(reactor, topology)

    def start(host: str, *arguments: str) -> Worker:
        worker = Worker()
        trace = ["--trace", options.trace] if options.trace else []
        command = [sys.executable, _WORKER, *arguments, *trace]
        lab.spawn(worker, host, command, env=engineEnvironment())
        return worker

    await lab.start()
    try:
        addresses = (f"--address={each}" for each in topology.host("rendezvous").addresses)
        service = start("rendezvous", "serve", *addresses)
        location = (await service.whenSaid())["location"]
        bob = start("bob", "answer", "--rendezvous", location)
        await bob.whenSaid()
        kinds = (f"--kind={kind}" for kind in KINDS)
        runs = f"--runs={options.runs}"
        alice = start("alice", "connect", "--rendezvous", location, runs, *kinds)
        await alice.ended
        for silent in (service, bob):
            silent.ended.addErrback(lambda failure: None)
        return alice.lines
    finally:
        await lab.stop()


def report(results: Iterable[dict[str, Any]], latency: float) -> dict[str, Any]:
    """
    Medians, in round trips, beside the bounds.
    """
    roundTrip = 2 * _LINKS * latency
    rows = {}
    for name, kind in KINDS.items():
        of = [result for result in results if result["kind"] == name]
        path, echo = (statistics.median(each[key] for each in of) for key in ("path", "echo"))
        rows[name] = {
            "runs": len(of),
            "pathSeconds": path,
            "echoSeconds": echo,
            "pathRoundTrips": path / roundTrip,
            "echoRoundTrips": echo / roundTrip,
            "pathBound": kind.pathBound,
            "echoBound": kind.echoBound,
            "pathRatio": path / roundTrip / kind.pathBound,
            "echoRatio": echo / roundTrip / kind.echoBound,
        }
    return {"roundTripSeconds": roundTrip, "measured": rows, "others": OTHERS}


def show(figures: dict[str, Any]) -> None:
    """
    Print for people.
    """
    milliseconds = figures["roundTripSeconds"] * 1000
    print(f"Round trips of {milliseconds:g} ms, medians; in brackets what cannot be avoided.\n")
    print(f"{'':20}{'nominated path':>26}{'first byte back':>26}")
    for name, row in figures["measured"].items():
        cells = [
            f"{row[f'{what}RoundTrips']:.2f} ({row[f'{what}Bound']})  x {row[f'{what}Ratio']:.2f}"
            for what in ("path", "echo")
        ]
        print(f"{KINDS[name].title:20}{cells[0]:>26}{cells[1]:>26}")
    print("\nWhat cannot be avoided when the service knows both mapped addresses in advance:")
    for kind in KINDS.values():
        print(f"  {kind.title}")
        for words, count in (*kind.steps, *kind.after):
            print(f"    {count}  {words}")
    others = ", ".join(f"{name} {count:g}" for name, count in figures["others"].items())
    print(f"\nOthers, to a path by UDP: {others}.")


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.025, help="of a link, in seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trace", help="write the peers' traces to files that begin like this")
    options = parser.parse_args()

    async def run(reactor: Any) -> None:
        figures = report(await measure(reactor, options), options.latency)
        if options.json:
            print(json.dumps(figures))
        else:
            show(figures)

    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
