"""
A gigabyte through two NATs: over TCP, over QUIC, over the relay, and while the path changes.

Each test prints how long it took, as C{docs/performance.md} shows it. No time is judged, only that
it all comes to an end; what is judged are checksums, and memory.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from holepunch.nat import Protocol
from tests.acceptance.stage import ROOT, Program
from tests.acceptance.test_relay import RelayTestCase

GIGABYTE = 1_000_000_000
SMALLER = 100_000_000
STEP = 10_000_000
MOST_MEMORY = 200_000_000
# On a machine with nothing else to do, a tenth of it is enough.
PATIENCE = 1500.0
_MEGABYTE = 1_000_000


@attrs.frozen(kw_only=True)
class Usage:
    """
    What a process has taken so far.

    @ivar processor: Seconds of the processor.
    @ivar peak: The most memory that was resident, in bytes.
    """

    processor: float
    peak: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """
        As the kernel tells of a process that runs.
        """
        folder = Path(f"/proc/{pid}")
        # The name in front is in brackets, and may contain spaces.
        numbers = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text().splitlines()
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        ticks = int(numbers[11]) + int(numbers[12])
        return cls(processor=ticks / os.sysconf("SC_CLK_TCK"), peak=int(peak) * 1024)


class PumpTestCase(RelayTestCase):
    """
    Two commands with much to say to each other.
    """

    timeout = 1600

    def pump(self, host: str, seed: int, least: int, *arguments: str) -> Program:
        """
        Start a command of ours, with a stream of pseudo-random bytes as its input.

        @param least: After so many bytes, L{Program.closeInput} ends the stream.
        """
        program = str(ROOT / "slowtests/pump.py")
        command, *rest = arguments
        ours = (sys.executable, "-m", "holepunch", command, "--json", *rest)
        return self.spawn(host, sys.executable, program, str(seed), str(least), *ours)

    async def meet(self, near: int, far: int, *arguments: str) -> tuple[Program, Program]:
        """
        Let alice connect to bob.

        @param near: How many bytes she has for him.
        @param far: How many he has for her.
        """
        bob = self.pump("bob", 1, far, "listen", "--name", "bob")
        await bob.untilEvent("listening")
        self.startedAt = time.monotonic()
        return self.pump("alice", 2, near, "connect", "bob", *arguments), bob

    async def finish(self, alice: Program, bob: Program) -> None:
        """
        Everything arrives, and nobody keeps it in memory.
        """
        for program in (alice, bob):
            program.closeInput()
        for program in (alice, bob):
            self.assertEqual(await program.end(PATIENCE), 0, program.errors[-3000:])
        seconds = time.monotonic() - self.startedAt
        mine, theirs = alice.event("pumped"), bob.event("pumped")
        service = Usage.of(self.service.transport.pid)  # type: ignore[union-attr]
        self.report(seconds, mine, theirs, service)
        for sender, receiver in ((mine, theirs), (theirs, mine)):
            self.assertEqual(receiver["received"], sender["sent"])
            self.assertEqual(receiver["receivedDigest"], sender["sentDigest"])
        for peak in (mine["peak"], theirs["peak"], service.peak):
            self.assertLess(peak, MOST_MEMORY)

    def report(
        self, seconds: float, mine: dict[str, Any], theirs: dict[str, Any], service: Usage
    ) -> None:
        """
        Print the figures.
        """
        size = (mine["sent"] + theirs["sent"]) / _MEGABYTE
        print(f"\n{self.id()}: {size:.0f} MB in {seconds:.1f} s: {size / seconds:.1f} MB/s")
        usages = {
            "alice": Usage(processor=mine["processor"], peak=mine["peak"]),
            "bob": Usage(processor=theirs["processor"], peak=theirs["peak"]),
            "service": service,
            "lab": Usage.of(self.lab.pid),
        }
        for name, usage in usages.items():
            peak = usage.peak / _MEGABYTE
            print(f"    {name}: {usage.processor:.1f} s of the processor, {peak:.0f} MB resident")

    def received(self, program: Program) -> int:
        """
        How many bytes have come out of a command, as far as it told.
        """
        told = [each["received"] for each in program.events if each["event"] == "progress"]
        return max(told, default=0)


class GigabyteTests(PumpTestCase):
    """
    Through two port-restricted NATs.
    """

    async def test_tcp(self) -> None:
        """
        A punched TCP connection carries a gigabyte each way at once.
        """
        await self.build("port-restricted/port-restricted")
        alice, bob = await self.meet(GIGABYTE, GIGABYTE, "--relay=never", "--transport=tcp")
        await self.finish(alice, bob)
        connected = alice.event("connected")
        self.assertEqual((connected["path"], connected["transport"]), ("direct", "tcp"))

    async def test_udp(self) -> None:
        """
        QUIC over a punched UDP path carries a gigabyte.
        """
        await self.build("port-restricted/port-restricted")
        alice, bob = await self.meet(GIGABYTE, 0, "--relay=never", "--transport=udp")
        await self.finish(alice, bob)
        connected = alice.event("connected")
        self.assertEqual((connected["path"], connected["transport"]), ("direct", "udp"))

    async def test_relay(self) -> None:
        """
        The service's relay carries a gigabyte.
        """
        await self.build("port-restricted/port-restricted")
        alice, bob = await self.meet(GIGABYTE, 0, "--relay=only")
        await self.finish(alice, bob)
        self.assertEqual(self.paths(alice), ["relay"])

    async def test_relayByTCP(self) -> None:
        """
        Where no UDP passes and no NAT can be punched, the relay carries 100 MB over TCP.
        """
        await self.build("symmetric-random/symmetric-random")
        for nat in ("nat-alice", "nat-bob"):
            await self.lab.blockNAT(nat, Protocol.UDP)
        alice, bob = await self.meet(SMALLER, 0)
        await self.finish(alice, bob)
        self.assertEqual(self.paths(alice), ["relay"])


class MovingTests(PumpTestCase):
    """
    A stream whose path changes.
    """

    async def test_backAndForth(self) -> None:
        """
        A stream with 100 MB and more each way at once moves from the relay to the direct path, back
        and forth, and one NAT forgets everything; not one byte is lost.
        """
        await self.build("port-restricted/port-restricted")
        alice, bob = await self.meet(SMALLER, SMALLER)
        await self.usePath(alice, bob, "direct")
        for _ in range(2):
            # What goes by the service passes.
            for address in self.lab.topology.nat("nat-bob").addresses:
                await self.lab.block("alice", None, address)
            await self.usePath(alice, bob, "relay")
            await self.lab.unblock("alice")
            await self.usePath(alice, bob, "direct")
        await self.lab.flushNAT("nat-bob")
        await self.progress(alice, bob)
        await self.finish(alice, bob)

    async def usePath(self, alice: Program, bob: Program, path: str) -> None:
        """
        Wait until both send on such a path, and much has passed over it.
        """
        for program in (alice, bob):
            await self.waitFor(program, lambda each: self.paths(each)[-1:] == [path])
        await self.progress(alice, bob)

    async def progress(self, *programs: Program) -> None:
        """
        Wait until each has received much more.
        """
        goals = {program: self.received(program) + STEP for program in programs}
        for program in programs:
            await self.waitFor(program, lambda each: self.received(each) >= goals[each])

    async def waitFor(self, program: Program, condition: Callable[[Program], bool]) -> None:
        """
        Wait until C{condition} holds for a program.
        """
        await program.until(lambda: condition(program), PATIENCE)
