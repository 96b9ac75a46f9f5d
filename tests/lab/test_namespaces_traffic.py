"""
Tests for the lab of kernel namespaces: what the kernel's own UDP and TCP see of its network.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time

import attrs

from holepunch.address import TransportAddress
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Filtering, PortAllocation

from .kernel import (
    QUICK,
    SERVER,
    LabTestCase,
    accepted,
    connected,
    readable,
    received,
)

KINDS = (
    "full-cone",
    "address-restricted",
    "port-restricted",
    "symmetric",
    "symmetric-random",
    "one-to-one",
    "firewall",
)
ALICE = TransportAddress("192.168.1.10", 4000)
NAT_ALICE = "31.1.0.1"
NAT_BOB = "31.2.0.1"
MEGABYTES = 20
# linux/in.h: without it a UDP socket hears only of ports that are closed.
IP_RECVERR = 11

#: Send what C{hashlib} makes of a counter, so that a piece out of place is noticed.
SENDER = """
import hashlib, socket, sys
host, megabytes = sys.argv[1], int(sys.argv[2])
whole = hashlib.sha256()
with socket.create_connection((host, 3478)) as connection:
    for number in range(megabytes * 16):
        piece = hashlib.shake_128(str(number).encode()).digest(65536)
        whole.update(piece)
        connection.sendall(piece)
print(whole.hexdigest())
"""
RECEIVER = """
import hashlib, socket
whole = hashlib.sha256()
with socket.create_server(("", 3478)) as listener:
    print("ready", flush=True)
    connection, _ = listener.accept()
    while piece := connection.recv(1 << 20):
        whole.update(piece)
print(whole.hexdigest())
"""


class MappingTests(LabTestCase):
    """
    Every kind of NAT, seen by the kernels of both sides.
    """

    async def checkKind(self, kind: str) -> None:
        """
        The mapped addresses that a server sees are those of the model, and answers come back.
        """
        await self.start(f"{kind}/none")
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice", local=ALICE.port)
        client.sendto(b"hello", (SERVER.host, SERVER.port))
        _, mapped = await received(server)
        server.sendto(b"welcome", (mapped.host, mapped.port))
        self.assertEqual(await received(client), (b"welcome", SERVER), kind)

        listener = await self.listening("rendezvous", SERVER)
        stream = await self.bound("alice", socket.SOCK_STREAM, ALICE.port)
        self.assertEqual(await connected(stream, SERVER), 0, kind)
        connection, mappedStream = await accepted(listener)
        self.addCleanup(connection.close)
        connection.send(b"welcome")
        await readable(stream)
        self.assertEqual(stream.recv(100), b"welcome")

        views = await self.lab.mappings("nat-alice")
        self.assertEqual({view.external for view in views}, {mapped, mappedStream}, kind)
        self.assertEqual({view.internal for view in views}, {ALICE}, kind)

        # From the server's other address: only a NAT that filters nothing lets it in.
        stranger = await self.bound("rendezvous", local=TransportAddress("5.2.0.1", 3478))
        stranger.sendto(b"psst", (mapped.host, mapped.port))
        isOpen = NAMED_BEHAVIOURS[kind].filtering is Filtering.ENDPOINT_INDEPENDENT
        self.assertEqual(await self.hears(client), isOpen, kind)


def _checkOf(kind: str) -> object:
    async def test(self: MappingTests) -> None:
        await self.checkKind(kind)

    test.__doc__ = f"What the kernel sees of a NAT of the kind {kind} is what the model says."
    return test


for _kind in KINDS:
    setattr(MappingTests, f"test_{_kind}", _checkOf(_kind))


class PunchTests(LabTestCase):
    """
    Holes that plain sockets punch.
    """

    async def open(self, text: str) -> None:
        """
        Open one TCP connection from both sides at once; nobody listens.
        """
        await self.start(text)
        alice = await self.bound("alice", socket.SOCK_STREAM, 4000)
        bob = await self.bound("bob", socket.SOCK_STREAM, 5000)
        alice.connect_ex((NAT_BOB, 5000))
        self.assertEqual(await connected(bob, TransportAddress(NAT_ALICE, 4000)), 0)
        bob.send(b"hello")
        await readable(alice)
        self.assertEqual(alice.recv(100), b"hello")

    async def test_simultaneousOpen(self) -> None:
        """
        TCP simultaneous open gets through two port-restricted model NATs.
        """
        await self.open("port-restricted/port-restricted")

    async def test_kernelSimultaneousOpen(self) -> None:
        """
        TCP simultaneous open gets through two NATs that are the kernel's own.
        """
        await self.open("kernel/kernel")

    async def test_hairpin(self) -> None:
        """
        Two peers behind one carrier's NAT reach each other by UDP at its hairpin.
        """
        await self.start("port-restricted/port-restricted/full-cone")
        toAlice, toBob = await self.mapped("alice", 4000), await self.mapped("bob", 5000)
        self.assertLessEqual({toAlice.host, toBob.host}, {"31.3.0.1", "31.3.0.2"})
        alice, bob = await self.bound("alice", local=4000), await self.bound("bob", local=5000)
        alice.sendto(b"lost", (toBob.host, toBob.port))
        self.assertFalse(await self.hears(bob))
        bob.sendto(b"hello", (toAlice.host, toAlice.port))
        self.assertEqual(await received(alice), (b"hello", toBob))
        alice.sendto(b"welcome", (toBob.host, toBob.port))
        self.assertEqual(await received(bob), (b"welcome", toAlice))


class RefusalTests(LabTestCase):
    """
    What NATs say reaches the kernel's sockets.
    """

    async def test_reset(self) -> None:
        """
        The RST of a NAT makes a connect fail as refused.
        """
        await self.start("port-restricted-rst/none")
        sock = await self.bound("bob", socket.SOCK_STREAM)
        self.assertEqual(await connected(sock, TransportAddress(NAT_ALICE, 9)), errno.ECONNREFUSED)

    async def test_unreachable(self) -> None:
        """
        The ICMP error of a NAT reaches TCP and UDP sockets: refused, or no route to the host.
        """
        await self.start("port-restricted-icmp/none")
        mapped = await self.mapped("alice", 4000)
        for port, kind, expected in (
            (9, socket.SOCK_STREAM, errno.ECONNREFUSED),
            (9, socket.SOCK_DGRAM, errno.ECONNREFUSED),
            (mapped.port, socket.SOCK_DGRAM, errno.EHOSTUNREACH),
        ):
            sock = await self.bound("bob", kind)
            if kind is socket.SOCK_STREAM:
                error = await connected(sock, TransportAddress(NAT_ALICE, port))
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
                sock.connect((NAT_ALICE, port))
                sock.send(b"hello")
                await readable(sock)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.assertEqual(error, expected, (port, kind))

    async def test_noSuchHost(self) -> None:
        """
        A core that answers says that an address does not exist.
        """
        await self.start("none/none", answersUnroutable=True)
        sock = await self.bound("bob", socket.SOCK_STREAM)
        self.assertEqual(await connected(sock, TransportAddress("5.9.9.9", 9)), errno.EHOSTUNREACH)

    async def test_translatedError(self) -> None:
        """
        The ICMP error of a host's kernel finds its way back through the NAT to the socket.
        """
        await self.start("port-restricted/none")
        sock = await self.bound("alice")
        sock.connect(("31.2.0.10", 9))
        sock.send(b"hello")
        await readable(sock)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNREFUSED)


class NeighbourTests(LabTestCase):
    """
    Hosts on one LAN.
    """

    async def test_sameNetwork(self) -> None:
        """
        Hosts behind one NAT see each other's private addresses.
        """
        await self.start("symmetric")
        bob = await self.bound("bob", local=5000)
        alice = await self.bound("alice", local=4000)
        alice.sendto(b"hello", ("192.168.1.20", 5000))
        self.assertEqual(await received(bob), (b"hello", ALICE))

    async def test_decoy(self) -> None:
        """
        Where a stranger has the peer's private address, the stranger is reached, and not the peer.
        """
        behaviour = NAMED_BEHAVIOURS["full-cone"]
        await self.start(Topology.sameSubnet(behaviour, behaviour, QUICK))
        bob, decoy = (
            await self.bound("bob", local=5000),
            await self.bound("decoy-bob", local=5000),
        )
        alice = await self.bound("alice", local=4000)
        alice.sendto(b"hello", ("192.168.1.20", 5000))
        self.assertEqual(await received(decoy), (b"hello", ALICE))
        self.assertFalse(await self.hears(bob))


class KernelNATTests(LabTestCase):
    """
    The kernel as NAT.
    """

    async def test_masquerade(self) -> None:
        """
        Masquerade keeps the port, lets answers in, and drops what strangers send.
        """
        await self.start("kernel/none")
        mapped = await self.mapped("alice", 4000)
        self.assertEqual(mapped, TransportAddress(NAT_ALICE, 4000))
        bob = await self.bound("bob", local=5000)
        bob.sendto(b"psst", (mapped.host, mapped.port))
        alice = await self.bound("alice", local=4000)
        self.assertFalse(await self.hears(alice))
        alice.sendto(b"hello", ("31.2.0.10", 5000))
        await received(bob)
        bob.sendto(b"welcome", (mapped.host, mapped.port))
        await received(alice)

    async def test_randomPorts(self) -> None:
        """
        With random ports, every flow gets another one.
        """
        plain = Topology.parse("kernel/none", QUICK)
        behaviour = attrs.evolve(plain.nats[0].behaviour, ports=PortAllocation.RANDOM)
        await self.start(Topology(plain.hosts, (attrs.evolve(plain.nats[0], behaviour=behaviour),)))
        ports = {(await self.mapped("alice", port)).port - port for port in (4000, 4001, 4002)}
        self.assertNotEqual(ports, {0})

    async def test_reset(self) -> None:
        """
        It refuses strangers where it is told to.
        """
        plain = Topology.parse("kernel/none", QUICK)
        behaviour = NAMED_BEHAVIOURS["port-restricted-rst"]
        await self.start(Topology(plain.hosts, (attrs.evolve(plain.nats[0], behaviour=behaviour),)))
        sock = await self.bound("bob", socket.SOCK_STREAM)
        self.assertEqual(await connected(sock, TransportAddress(NAT_ALICE, 9)), errno.ECONNREFUSED)


class TransferTests(LabTestCase):
    """
    Streams and times.
    """

    async def transfer(self, text: str, megabytes: int, useOffload: bool) -> None:
        """
        Send a stream through the lab and compare checksums.
        """
        await self.start(text, useOffload=useOffload)
        receiver = self.lab.popen(
            "rendezvous", [sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE
        )
        assert receiver.stdout is not None
        self.addCleanup(receiver.stdout.close)
        self.assertEqual(receiver.stdout.readline(), b"ready\n")
        sent = await self.lab.run(
            "alice", [sys.executable, "-c", SENDER, SERVER.host, str(megabytes)]
        )
        self.assertEqual(receiver.stdout.readline(), sent)
        self.assertEqual(receiver.wait(), 0)

    async def test_stream(self) -> None:
        """
        A long stream crosses two NATs, a model and a kernel, and arrives as it was sent.
        """
        await self.transfer("port-restricted/none/kernel", MEGABYTES, useOffload=True)

    async def test_withoutOffload(self) -> None:
        """
        So does one that is cut into segments before it leaves the host.
        """
        await self.transfer("port-restricted/none", 2, useOffload=False)

    async def test_latency(self) -> None:
        """
        Four links of 25 ms make a round trip of 100 ms: never less, and at best hardly more.
        """
        await self.start(Topology.parse("none/none", LinkSpec(latency=0.025)))
        server = await self.bound("rendezvous", local=SERVER)
        client = await self.bound("alice")
        roundTrips = []
        for _ in range(12):
            started = time.perf_counter()
            client.sendto(b"hello", (SERVER.host, SERVER.port))
            _, source = await received(server)
            server.sendto(b"welcome", (source.host, source.port))
            await received(client)
            roundTrips.append(time.perf_counter() - started)
        self.assertGreaterEqual(min(roundTrips), 0.1)
        self.assertLess(min(roundTrips), 0.102)
