"""
How long a stream stands still when a NAT on its way forgets everything, or gets another address.

A peer sends eight bytes twenty times a second over one stream, and another peer sends them back,
through two NATs in the lab of kernel namespaces. When that has gone on for a while, a NAT is
rebooted. The gap is the longest time without an echo after that.

Owns: the networks, what befalls them, the table.
Knows nothing of: how a stream goes on (C{benchmarks/connectworker.py} is the peers).
Driven by: C{python benchmarks/gap.py [--runs N] [--latency SECONDS] [--seconds N] [--json]}.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import LinkSpec, Topology

if TYPE_CHECKING:
    from benchmarks.connect import Worker
else:
    from connect import Worker

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connectworker.py")


@attrs.frozen(kw_only=True)
class Mishap:
    """
    What befalls which network.

    @ivar address: The new public address of the NAT; C{None}: it forgets its mappings.
    """

    title: str
    topology: str
    nat: str
    address: str | None = None


MISHAPS = {
    "same-mapping": Mishap(
        title="direct; the NAT gives the same mapping again",
        topology="port-restricted/port-restricted",
        nat="nat-bob",
    ),
    "other-mapping": Mishap(
        title="direct; it gives another one, and the other side lets it in",
        topology="full-cone/symmetric-random",
        nat="nat-bob",
    ),
    "new-address": Mishap(
        title="direct; a new public address",
        topology="port-restricted/port-restricted",
        nat="nat-alice",
        address="31.1.0.77",
    ),
    "relay": Mishap(
        title="relay, with no direct path",
        topology="symmetric-random/symmetric-random",
        nat="nat-bob",
    ),
}


async def measure(reactor: Any, mishap: Mishap, options: argparse.Namespace) -> float:
    """
    Build the network, let a stream settle, and disturb it.

    @return: The gap in seconds.
    """
    topology = Topology.parse(mishap.topology, LinkSpec(latency=options.latency))
    lab = NamespaceLab(reactor, topology)
    endings: list[Failure] = []

    def start(host: str, *arguments: str) -> Worker:
        worker = Worker()
        # Who has not ended by itself is ended with the lab.
        worker.ended.addErrback(lambda failure: endings.append(failure))
        command = [sys.executable, _WORKER, *arguments]
        lab.spawn(worker, host, command, env=engineEnvironment())
        return worker

    await lab.start()
    try:
        addresses = (f"--address={each}" for each in topology.host("rendezvous").addresses)
        service = start("rendezvous", "serve", *addresses)
        location = (await service.whenSaid())["location"]
        bob = start("bob", "answer", "--rendezvous", location)
        await bob.whenSaid()
        alice = start("alice", "stay", "--rendezvous", location, f"--seconds={options.seconds}")
        await alice.whenSaid()
        if mishap.address is None:
            await lab.flushNAT(mishap.nat)
        else:
            await lab.rebindNAT(mishap.nat, [mishap.address])
        await alice.ended
        for failure in endings:
            failure.raiseException()
    finally:
        await lab.stop()
    gap: float = alice.lines[-1]["gap"]
    return gap


def show(figures: dict[str, list[float]]) -> None:
    """
    Print for people.
    """
    print(f"{'gap in seconds':64}{'median':>8}{'least':>8}{'most':>8}")
    for name, gaps in figures.items():
        numbers = (statistics.median(gaps), min(gaps), max(gaps))
        print(f"{MISHAPS[name].title:64}" + "".join(f"{each:8.2f}" for each in numbers))


def main() -> None:
    """
    Read the options, measure, print.
    """
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.025, help="of a link, in seconds")
    parser.add_argument("--seconds", type=float, default=15.0, help="to watch after the mishap")
    parser.add_argument("--mishap", action="append", choices=list(MISHAPS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    async def run(reactor: Any) -> None:
        figures: dict[str, list[float]] = {name: [] for name in options.mishap or MISHAPS}
        for _ in range(options.runs):
            for name, gaps in figures.items():
                gaps.append(await measure(reactor, MISHAPS[name], options))
        if options.json:
            print(json.dumps(figures))
        else:
            show(figures)

    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
