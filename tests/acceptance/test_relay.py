"""
The relay through real NATs, by the product's own commands: in kernel namespaces.
"""

from __future__ import annotations

import os
import time

from twisted.internet.task import deferLater

from holepunch.lab.topology import Topology
from holepunch.nat import Protocol
from tests.acceptance.stage import Program, StageTestCase, reactor

DATA = os.urandom(300_000)


class RelayTestCase(StageTestCase):
    """
    The service relays, too.
    """

    async def startService(self) -> None:
        """
        Run C{twistd holepunch} with a relay, by UDP, TCP and TLS.
        """
        first, second = self.serviceHosts
        self.service = self.spawn(
            "rendezvous",
            self.twistd,
            "-n",
            "--pidfile=",
            "holepunch",
            *("--identity", str((self.folder / "service.pem").resolve())),
            *("--assist", f"{first}:3478", "--assist", f"{second}:3479"),
            *("--relay", f"{first}:3500", "--relay-tls", "443"),
        )
        await self.service.untilOutput(b"assist listener")

    async def start(self, topology: Topology | str) -> None:
        await self.build(topology)
        await self.listen("--keep", "--echo")

    def paths(self, program: Program) -> list[str | None]:
        """
        The ways that the connection went, one after the other.
        """
        return [
            event["path"] for event in program.events if event["event"] in ("connected", "moved")
        ]


class AlwaysTests(RelayTestCase):
    """
    A connection always.
    """

    async def test_symmetric(self) -> None:
        """
        Two NATs that nobody can punch are no obstacle, and no more is a person who wants no relay
        told than that there is no way.
        """
        await self.start("symmetric-random/symmetric-random")
        connected = await self.exchange(DATA)
        self.assertEqual((connected["path"], connected["candidate"]), ("relay", "relay"))
        refusing = self.holepunch("alice", "connect", "bob", "--relay", "never", "--timeout", "6")
        self.assertEqual(await refusing.end(), 1)
        self.assertEqual(refusing.event("failed")["error"], "NoPathFound")

    async def test_upgrade(self) -> None:
        """
        Where there is a direct way, a connection that begins on the relay moves to it.
        """
        await self.start("port-restricted/port-restricted")
        program = self.holepunch("alice", "connect", "bob")
        program.write(DATA)
        await program.until(lambda: len(program.output) == len(DATA))
        await program.until(lambda: self.paths(program)[-1:] == ["direct"])
        program.write(DATA)
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual(program.output, DATA + DATA)

    async def test_only(self) -> None:
        """
        With C{--relay only} it stays there.
        """
        await self.start("full-cone/full-cone")
        program = self.holepunch("alice", "connect", "bob", "--relay", "only")
        program.write(DATA)
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual((program.output, self.paths(program)), (DATA, ["relay"]))

    async def test_ping(self) -> None:
        """
        A ping goes by the relay, too.
        """
        await self.start("symmetric-random/symmetric-random")
        connected = await self.ping()
        self.assertEqual(connected["path"], "relay")


class TCPOnlyTests(RelayTestCase):
    """
    Networks that let no UDP through.
    """

    async def blockUDP(self, *nats: str) -> None:
        for name in nats:
            await self.lab.blockNAT(name, Protocol.UDP)

    async def test_relayed(self) -> None:
        """
        The relay is reached by TCP.
        """
        await self.start("symmetric-random/symmetric-random")
        await self.blockUDP("nat-alice", "nat-bob")
        self.assertEqual((await self.exchange(DATA))["path"], "relay")

    async def test_direct(self) -> None:
        """
        A connection moves from there to a direct one, over TCP.
        """
        await self.start("port-restricted/port-restricted")
        await self.blockUDP("nat-alice", "nat-bob")
        program = self.holepunch("alice", "connect", "bob")
        await program.until(lambda: self.paths(program)[-1:] == ["direct"])
        program.write(DATA)
        program.closeInput()
        self.assertEqual(await program.end(), 0, program.errors)
        self.assertEqual(program.output, DATA)
        last = [event for event in program.events if event["event"] in ("connected", "moved")][-1]
        self.assertEqual(last["transport"], "tcp")


class StayingTests(RelayTestCase):
    """
    A stream that goes on.
    """

    async def settle(self, topology: str) -> None:
        await self.start(topology)
        self.program = self.holepunch("alice", "connect", "bob")
        await self.program.until(lambda: bool(self.paths(self.program)))
        self.sent = 0
        await self.beat(4)

    async def beat(self, seconds: float) -> float:
        """
        Send eight bytes twenty times a second.

        @return: The longest time without an echo.
        """
        longest, heardAt, size = 0.0, time.monotonic(), len(self.program.output)
        end = heardAt + seconds
        while time.monotonic() < end:
            self.program.write(self.sent.to_bytes(8, "big"))
            self.sent += 1
            await deferLater(reactor, 0.05)
            now = time.monotonic()
            if len(self.program.output) > size:
                size, heardAt = len(self.program.output), now
            longest = max(longest, now - heardAt)
        return longest

    async def finish(self) -> None:
        """
        All that was sent came back, once and in order.
        """
        self.program.closeInput()
        self.assertEqual(await self.program.end(), 0, self.program.errors)
        expected = b"".join(number.to_bytes(8, "big") for number in range(self.sent))
        self.assertEqual(self.program.output, expected)

    async def test_forgetful(self) -> None:
        """
        A NAT that forgets everything interrupts a stream for some seconds at most, on a direct path
        and on a relayed one.
        """
        for topology in ("port-restricted/port-restricted", "symmetric-random/symmetric-random"):
            await self.settle(topology)
            await self.lab.flushNAT("nat-bob")
            gap = await self.beat(15)
            print(f"{topology}: {gap:.2f} s")
            self.assertLess(gap, 12.0)
            await self.finish()
            await self.clear()

    async def test_newAddress(self) -> None:
        """
        A new public address does so, too.
        """
        await self.settle("port-restricted/port-restricted")
        await self.lab.rebindNAT("nat-alice", ["31.1.0.77"])
        gap = await self.beat(20)
        print(f"{gap:.2f} s")
        self.assertLess(gap, 15.0)
        await self.finish()

    async def test_serviceRestarts(self) -> None:
        """
        So does the service when it starts again while the stream goes through its relay.
        """
        await self.settle("symmetric-random/symmetric-random")
        await self.service.kill()
        await self.beat(2)
        await self.startService()
        await self.beat(15)
        await self.finish()

    async def clear(self) -> None:
        """
        Another lab may follow.
        """
        for program in self.programs:
            await program.kill()
        await self.lab.stop()
