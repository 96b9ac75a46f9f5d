"""
Tests for the lab of kernel namespaces: IPv6, firewalls, several interfaces, echoes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import attrs

from holepunch.address import TransportAddress
from holepunch.errors import LabError
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.nat import NAMED_BEHAVIOURS, Fragments, Protocol

from .kernel import QUICK, LabTestCase, received

SERVER = TransportAddress("5.1.0.1", 3478)
SERVER_6 = TransportAddress("2001:db8:5:1::1", 3478)
ALICE_6 = "2001:db8:1::10"
BOB_6 = "2001:db8:2::10"
#: What ping(8) does: prints the size of the echo's data, or nothing when no echo comes.
PING = """
import os, select, socket, struct, sys
remote, size, local = sys.argv[1], int(sys.argv[2]), sys.argv[3]
isIPv4 = ":" not in remote
family, protocol = (socket.AF_INET, 1) if isIPv4 else (socket.AF_INET6, 58)
sock = socket.socket(family, socket.SOCK_RAW, protocol)
sock.bind((local, 0))
content = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + bytes(size)
message = struct.pack("!BBH", 8 if isIPv4 else 128, 0, 0) + content
if isIPv4:
    words = message + bytes(len(message) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    message = message[:2] + struct.pack("!H", total) + content
for _ in range(int(sys.argv[4])):
    sock.sendto(message, (remote, 0))
    while select.select([sock], [], [], 0.3)[0]:
        answer = sock.recv(65535)
        answer = answer[20:] if isIPv4 else answer
        if answer[0] in (0, 129) and answer[4:] == content:
            print(size)
            sys.exit()
"""


class DualStackTests(LabTestCase):
    """
    What the kernel's own stack sees of such networks.
    """

    async def ping(
        self, host: str, remote: str, size: int = 56, local: str = "", tries: int = 1
    ) -> bool:
        """
        Does an echo come back?
        """
        arguments = [remote, str(size), local, str(tries)]
        output = await self.lab.run(host, [sys.executable, "-c", PING, *arguments])
        return output.strip() == str(size).encode()

    async def test_ping(self) -> None:
        """
        Echoes pass NATs and firewalls, whole and in fragments, whoever they are.
        """
        for name in ("port-restricted", "symmetric-random", "kernel"):
            await self.start(f"dual-stack:{name}/none")
            for remote in (SERVER.host, SERVER_6.host):
                self.assertTrue(await self.ping("alice", remote), (name, remote))
                self.assertTrue(await self.ping("alice", remote, 5000), (name, remote))
            self.assertFalse(await self.ping("rendezvous", ALICE_6))
            protocols = {view.protocol for view in await self.lab.mappings("nat-alice")}
            self.assertEqual(protocols, {Protocol.ICMP})
            await self.lab.stop()

    async def test_datagrams(self) -> None:
        """
        Over IPv6 a host is seen by its own address; its firewall keeps strangers out until it has
        sent to them.
        """
        for name in ("port-restricted", "kernel"):
            await self.start(f"dual-stack:{name}/{name}")
            server = await self.bound("rendezvous", local=SERVER_6)
            alice = await self.bound("alice", local=TransportAddress(ALICE_6, 4000))
            bob = await self.bound("bob", local=TransportAddress(BOB_6, 4000))
            alice.sendto(b"hello", (SERVER_6.host, SERVER_6.port))
            self.assertEqual(await received(server), (b"hello", TransportAddress(ALICE_6, 4000)))
            bob.sendto(b"too early", (ALICE_6, 4000))
            self.assertFalse(await self.hears(alice))
            alice.sendto(b"hello", (BOB_6, 4000))
            self.assertEqual((await received(bob))[0], b"hello")
            bob.sendto(b"hello", (ALICE_6, 4000))
            self.assertEqual((await received(alice))[0], b"hello")
            await self.lab.stop()

    async def test_unanswered(self) -> None:
        """
        What closed ports say of IPv6 comes back through firewalls.
        """
        await self.start("dual-stack:port-restricted/none")
        code = f"""if True:
            import socket
            try: socket.create_connection(({SERVER_6.host!r}, 9), 3)
            except ConnectionRefusedError: print("refused")
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.connect(({SERVER_6.host!r}, 9)); sock.settimeout(3); sock.send(b"x")
            try: sock.recv(9)
            except ConnectionRefusedError: print("refused")
        """
        output = await self.lab.run("alice", [sys.executable, "-c", code])
        self.assertEqual(output.split(), [b"refused", b"refused"])

    async def test_pathMTU(self) -> None:
        """
        The kernel believes the lab's "packet too big", and cuts what it sends accordingly.
        """
        topology = Topology.parse("dual-stack:port-restricted/none", QUICK)
        link = LinkSpec(latency=0.001, mtu=1400)
        nats = tuple(attrs.evolve(nat, link=link) for nat in topology.nats)
        await self.start(attrs.evolve(topology, nats=nats))
        self.assertTrue(await self.ping("alice", SERVER_6.host, 1440, tries=4))
        self.assertTrue(await self.ping("alice", SERVER_6.host, 5000, tries=4))
        route = await self.lab.run("alice", ["ip", "-6", "route", "get", SERVER_6.host])
        self.assertIn(b"mtu 1400", route)

    async def test_fragmentsDropped(self) -> None:
        """
        A firewall that drops fragments drops those of IPv6.
        """
        topology = Topology.parse("dual-stack:port-restricted/none", QUICK)
        firewall = attrs.evolve(NAMED_BEHAVIOURS["firewall"], fragments=Fragments.DROP)
        nats = tuple(attrs.evolve(nat, firewall=firewall) for nat in topology.nats)
        await self.start(attrs.evolve(topology, nats=nats))
        self.assertTrue(await self.ping("alice", SERVER_6.host, 1400))
        self.assertFalse(await self.ping("alice", SERVER_6.host, 5000))
        self.assertTrue(await self.ping("alice", SERVER.host, 5000))

    async def test_firewalls(self) -> None:
        """
        Without NAT, IPv4 addresses stay as they are, and a firewall may let everybody in.
        """
        await self.start("firewalls:no-nat/firewall")
        self.assertTrue(await self.ping("bob", "31.11.0.10"))
        self.assertFalse(await self.ping("alice", "31.12.0.10"))
        self.assertTrue(await self.ping("bob", ALICE_6))

    async def test_kernelFirewall(self) -> None:
        """
        The kernel's own router can be such a firewall.
        """
        topology = Topology.parse("firewalls:no-nat/firewall", QUICK)
        nats = tuple(attrs.evolve(nat, isKernel=True) for nat in topology.nats)
        await self.start(attrs.evolve(topology, nats=nats))
        self.assertTrue(await self.ping("bob", "31.11.0.10"))
        self.assertFalse(await self.ping("alice", "31.12.0.10"))
        self.assertTrue(await self.ping("bob", ALICE_6))
        self.assertFalse(await self.ping("alice", BOB_6))

    async def test_rebind(self) -> None:
        """
        A router's addresses of either IP version can be changed alone, but none added.
        """
        await self.start("dual-stack:port-restricted/kernel")
        for nat in ("nat-alice", "nat-bob"):
            host = nat.removeprefix("nat-")
            await self.lab.rebindNAT(nat, [f"31.{9 if host == 'bob' else 8}.0.9"])
            await self.lab.rebindNAT(nat, [])
            self.assertTrue(await self.ping(host, SERVER.host))
            self.assertTrue(await self.ping(host, SERVER_6.host))
        await self.lab.stop()
        await self.start("port-restricted/none")
        with self.assertRaises(LabError):
            await self.lab.rebindNAT("nat-alice", ["2001:db8::9"])

    async def test_interfaces(self) -> None:
        """
        What is bound to an address leaves by its interface, all else by the first; also after one
        has moved.
        """
        await self.start("two-interfaces:port-restricted/none/symmetric")
        server = await self.bound("rendezvous", local=SERVER)
        places = (("192.168.1.10", "31.1.0.1"), ("10.64.0.10", "31.4.0.1"), ("", "31.1.0.1"))
        for number, (local, seen) in enumerate(places):
            address = TransportAddress(local or "0.0.0.0", 4000 + number)
            sock = await self.bound("alice", local=address)
            sock.sendto(b"hello", (SERVER.host, SERVER.port))
            _, source = await received(server)
            self.assertEqual(source.host, seen)
            server.sendto(b"hello", (source.host, source.port))
            self.assertEqual(await received(sock), (b"hello", SERVER))
        await self.lab.block("alice")
        self.assertFalse(await self.ping("alice", SERVER.host))
        self.assertTrue(await self.ping("alice", SERVER.host, local="10.64.0.10"))
        await self.lab.moveHost("alice-mobile", ["31.4.0.77"], None)
        self.assertTrue(await self.ping("alice", SERVER.host, local="31.4.0.77"))
        self.assertIn(b"eth1", await self.lab.run("alice-mobile", ["ip", "address"]))

    async def test_capture(self) -> None:
        """
        Wireshark reads what is captured of IPv6, echoes and fragments, and finds nothing wrong.
        """
        await self.start("dual-stack:port-restricted/none", useOffload=False)
        path = self.mktemp()
        await self.lab.capture("nat-alice", path)
        for remote in (SERVER.host, SERVER_6.host):
            self.assertTrue(await self.ping("alice", remote, 3000))
        code = f"import socket; socket.create_connection(({SERVER_6.host!r}, 3478), 3).send(b'x')"
        listener = await self.listening("rendezvous", SERVER_6)
        await self.lab.run("alice", [sys.executable, "-c", code])
        listener.close()
        await self.lab.stopCapture("nat-alice")
        packets = await dissected(path)
        layers = [packet["_source"]["layers"] for packet in packets]
        self.assertEqual(sum("icmp" in each for each in layers), 2)
        self.assertEqual(sum("icmpv6" in each for each in layers), 2)
        self.assertEqual(sum("ipv6.fraghdr" in str(each) for each in layers), 6)
        self.assertTrue(any("tcp" in each for each in layers))
        self.assertNotIn("_ws.malformed", str(layers))
        self.assertNotIn("Bad checksum", str(layers))


async def dissected(path: str) -> list[Any]:
    """
    What tshark makes of a capture.
    """
    tshark = shutil.which("tshark")
    assert tshark is not None
    checks = [f"-o{each}.check_checksum:TRUE" for each in ("ip", "tcp", "udp")]
    found = subprocess.run([tshark, "-r", path, "-T", "json", *checks], capture_output=True)
    packets: list[Any] = json.loads(found.stdout)
    return packets
