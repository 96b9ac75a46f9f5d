"""
Tests for L{holepunch.lab.standing}: labs that go on without the program that built them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.errors import LabError
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.standing import StandingLab
from holepunch.lab.standingfiles import labsFolder
from holepunch.lab.topology import HostSpec, LinkSpec, Topology
from holepunch.nat import Protocol

from .kernel import isRunning

QUICK = LinkSpec(latency=0.001)
#: Sends a datagram to the rendezvous host and waits for the answer; ends with 3 if none comes.
ASK = """
import socket, sys
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("", 4000))
asking.settimeout(float(sys.argv[2]))
asking.sendto(b"?", (sys.argv[1], 4000))
try:
    print(asking.recv(100).decode(), end="")
except TimeoutError:
    sys.exit(3)
"""
#: Tells whoever asks with which address it was asked.
ANSWER = """
import socket
answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
answering.bind(("", 4000))
print("ready", flush=True)
while True:
    data, source = answering.recvfrom(100)
    answering.sendto(repr(source[0]).encode(), source)
"""
#: Builds a lab, and ends.
BUILDER = """
from holepunch.lab.standing import StandingLab
from holepunch.lab.topology import Topology
lab = StandingLab.up(Topology.parse("none/none"), name="left")
print(lab.record.pid)
"""


class StandingTestCase(SynchronousTestCase):
    """
    Tests with a folder of their own for labs.
    """

    def setUp(self) -> None:
        """
        No other labs are seen; those of the test are ended.
        """
        # A UNIX socket's path must be short, and trial's own folders are deep.
        runtime = Path(self.mktemp()).resolve()
        runtime.mkdir(mode=0o700)
        self.short = Path("/tmp") / f"hp-{os.getpid()}-{id(self) % 10**6}"
        self.short.symlink_to(runtime)
        self.addCleanup(self.short.unlink)
        self.patch(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": str(self.short)})
        self.addCleanup(self._clear)

    def _clear(self) -> None:
        for lab in StandingLab.all():
            lab.down()

    def build(self, text: str, name: str = "lab", stranger: str = "") -> StandingLab:
        """
        Build a lab.

        @param stranger: The public address of one.
        """
        topology = Topology.parse(text, QUICK)
        if stranger:
            host = HostSpec(name="stranger", addresses=(stranger,), isDecoy=True)
            topology = attrs.evolve(topology, hosts=(*topology.hosts, host))
        return StandingLab.up(topology, name=name, text=text, seed=7)

    def answerer(self, lab: StandingLab, host: str = "rendezvous") -> None:
        """
        Have a host answer.
        """
        program = lab.popen(host, [sys.executable, "-c", ANSWER], stdout=subprocess.PIPE)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        assert program.stdout is not None
        program.stdout.readline()
        program.stdout.close()

    def ask(self, lab: StandingLab, address: str = "5.1.0.1", patience: float = 5.0) -> str:
        """
        Have alice ask.

        @return: The address with which she was seen; nothing if no answer came.
        """
        command = [sys.executable, "-c", ASK, address, str(patience)]
        ran = subprocess.run(
            lab.command("alice", command), stdout=subprocess.PIPE, text=True, check=False
        )
        return ran.stdout.strip("'")


class LifeTests(StandingTestCase):
    """
    From the beginning to the end.
    """

    def test_found(self) -> None:
        """
        A lab is found by its name, with what is known of it, until it is taken down.
        """
        self.build("port-restricted/kernel", "one")
        self.build("none/none", "two")
        self.assertEqual([lab.name for lab in StandingLab.all()], ["one", "two"])
        found = StandingLab.find("one")
        self.assertTrue(found.isUp)
        self.assertEqual((found.record.text, found.record.seed), ("port-restricted/kernel", 7))
        self.assertEqual(found.record.nats, ("nat-alice", "nat-bob"))
        found.down()
        self.assertFalse(found.isUp)
        self.assertFalse(isRunning(found.record.pid))
        error = self.assertRaises(LabError, StandingLab.find, "one")
        self.assertIn("only: two", str(error))

    def test_outlives(self) -> None:
        """
        A lab goes on when the program that built it has ended.
        """
        command = [sys.executable, "-c", BUILDER]
        pid = int(subprocess.check_output(command, env=engineEnvironment()))
        self.assertTrue(isRunning(pid))
        lab = StandingLab.find("left")
        self.assertEqual(subprocess.call(lab.command("bob", ["true"])), 0)

    def test_downKillsPrograms(self) -> None:
        """
        With a lab, the programs in it end.
        """
        lab = self.build("none/none")
        sleeper = lab.popen("alice", ["sleep", "600"])
        lab.down()
        self.assertEqual(sleeper.wait(), -signal.SIGKILL)

    def test_killed(self) -> None:
        """
        A lab whose engine was killed is listed, refuses requests, and is cleared away with its
        programs.
        """
        lab = self.build("none/none")
        sleeper = lab.popen("alice", ["sleep", "600"])
        os.kill(lab.record.pid, signal.SIGKILL)
        # Until the kernel has closed the socket.
        while lab.isUp:
            pass
        (found,) = StandingLab.all()
        self.assertFalse(found.isUp)
        self.assertIn("was killed", str(self.assertRaises(LabError, found.flushNAT, "nat-alice")))
        self.assertRaises(LabError, found.command, "alice", ["true"])
        found.down()
        self.assertEqual(sleeper.wait(), -signal.SIGKILL)
        self.assertEqual(StandingLab.all(), ())

    def test_stuck(self) -> None:
        """
        A lab whose engine does not answer is taken down all the same.
        """
        lab = self.build("none/none")
        self.patch(sys.modules["holepunch.lab.standing"], "_ENDS_WITHIN", 0.1)
        os.kill(lab.record.pid, signal.SIGSTOP)
        lab.down()
        self.assertFalse(isRunning(lab.record.pid))
        self.assertEqual(StandingLab.all(), ())

    def test_twice(self) -> None:
        """
        A name is for one lab at a time; one that was killed is in nobody's way.
        """
        lab = self.build("none/none")
        error = self.assertRaises(LabError, self.build, "none/none")
        self.assertIn("up already", str(error))
        os.kill(lab.record.pid, signal.SIGKILL)
        while lab.isUp:
            pass
        self.assertTrue(self.build("none/none").isUp)

    def test_badName(self) -> None:
        """
        A name that could not be a folder's is refused.
        """
        for name in ("", "..", "a/b", "x" * 33):
            self.assertRaises(LabError, self.build, "none/none", name)

    def test_cannotBuild(self) -> None:
        """
        A lab that cannot be built leaves nothing, and says why.
        """
        self.patch(os, "environ", {**os.environ, "PATH": "/nowhere"})
        error = self.assertRaises(LabError, self.build, "kernel/none")
        self.assertIn("package nftables", str(error))
        self.assertEqual(StandingLab.all(), ())

    def test_foreignFolder(self) -> None:
        """
        A folder that others may write to is refused.
        """
        folder = labsFolder()
        folder.chmod(0o777)
        self.assertRaises(LabError, StandingLab.all)
        folder.chmod(0o700)


class RequestTests(StandingTestCase):
    """
    What a running lab can be asked for.
    """

    def test_rebind(self) -> None:
        """
        Both kinds of NAT take the next free address, or the one that is given.
        """
        lab = self.build("port-restricted/kernel")
        self.answerer(lab)
        self.assertEqual(self.ask(lab), "31.1.0.1")
        self.assertEqual(lab.rebindNAT("nat-alice"), ("31.1.0.2",))
        self.assertEqual(lab.rebindNAT("nat-bob"), ("31.2.0.2",))
        self.assertEqual(self.ask(lab), "31.1.0.2")
        self.assertEqual(lab.rebindNAT("nat-alice", ["31.1.0.9"]), ("31.1.0.9",))
        self.assertEqual(self.ask(lab), "31.1.0.9")
        for wrong in ("somewhere", "2001:db8::1"):
            self.assertRaises(LabError, lab.rebindNAT, "nat-alice", [wrong])
        self.assertEqual(lab.hosts("nat-alice"), ("31.1.0.9",))

    def test_interfaces(self) -> None:
        """
        A further interface is a part of its own: of commands, links and counters.
        """
        lab = self.build("two-interfaces:port-restricted/none/full-cone")
        self.assertEqual(lab.record.interfaces, ("alice-mobile",))
        self.assertEqual(lab.hosts("alice-mobile"), ("10.64.0.10",))
        self.answerer(lab)
        lab.setLink("alice", LinkSpec(loss=1.0))
        self.assertEqual(self.ask(lab, patience=0.3), "")
        lab.setLink("alice-mobile", LinkSpec(mtu=600))
        command = ["ip", "link", "show", "eth1"]
        said = lab.popen("alice-mobile", command, stdout=subprocess.PIPE).communicate()[0]
        self.assertIn(b"mtu 600", said)
        self.assertEqual(lab.counters("alice-mobile")["link"]["lost"], 0)

    def test_bothVersions(self) -> None:
        """
        A NAT's addresses of one IP version are changed alone, or all of them to the next.
        """
        lab = self.build("dual-stack:port-restricted/none")
        self.assertEqual(
            lab.rebindNAT("nat-alice", ["2001:db8:31:1::7"]), ("2001:db8:31:1::7", "31.1.0.1")
        )
        self.assertEqual(lab.rebindNAT("nat-alice"), ("2001:db8:31:1::8", "31.1.0.2"))

    def test_mappings(self) -> None:
        """
        Mappings are told with the seconds that they have left, and a flush forgets them.
        """
        lab = self.build("port-restricted/none")
        self.answerer(lab)
        self.ask(lab)
        (view,) = lab.mappings("nat-alice")
        self.assertEqual(view.external, TransportAddress("31.1.0.1", 4000))
        self.assertTrue(290.0 < view.expiresAt <= 300.0, view)
        lab.flushNAT("nat-alice")
        self.assertEqual(lab.mappings("nat-alice"), ())

    def test_block(self) -> None:
        """
        Both kinds of NAT block a protocol, and let it pass again.
        """
        for kind in ("port-restricted", "kernel"):
            lab = self.build(f"{kind}/none", kind)
            self.answerer(lab)
            lab.blockNAT("nat-alice", Protocol.UDP)
            self.assertEqual(self.ask(lab, patience=0.1), "")
            lab.unblockNAT("nat-alice", Protocol.UDP)
            self.assertEqual(self.ask(lab), "31.1.0.1")
            lab.down()

    def test_flows(self) -> None:
        """
        Flows and counters tell what went where.
        """
        lab = self.build("port-restricted/none")
        self.answerer(lab)
        self.ask(lab)
        (flow,) = lab.flows("alice")
        self.assertEqual(
            (flow.protocol, flow.remote, flow.sent, flow.received),
            (Protocol.UDP, "5.1.0.1", 1, 1),
        )
        self.assertEqual(lab.counters("nat-alice")["link"]["sent"], 2)
        self.assertRaises(LabError, lab.flows, "carol")

    def test_capture(self) -> None:
        """
        A capture on either side of a NAT shows the packets as they are there, to tshark.
        """
        lab = self.build("port-restricted/none")
        self.answerer(lab)
        for name, address in (("alice", "192.168.1.10"), ("nat-alice", "31.1.0.1")):
            path = Path(self.mktemp())
            lab.capture(name, path)
            self.ask(lab)
            lab.stopCapture(name)
            self.ask(lab)
            command = ["tshark", "-r", str(path), "-T", "fields", "-e", "ip.src", "-e", "ip.dst"]
            said = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
            self.assertEqual(said, f"{address}\t5.1.0.1\n5.1.0.1\t{address}\n")

    def test_link(self) -> None:
        """
        A link that loses everything does so at once.
        """
        lab = self.build("none/none")
        self.answerer(lab)
        lab.setLink("alice", LinkSpec(loss=1.0))
        self.assertEqual(self.ask(lab, patience=0.1), "")

    def test_decoy(self) -> None:
        """
        At the other peer's private address, a stranger answers.
        """
        lab = self.build("same-subnet:port-restricted/port-restricted")
        self.assertEqual(self.ask(lab, "192.168.1.20"), "?")
        script = "import socket; print(socket.create_connection(('192.168.1.20', 99)).recv(9))"
        command = lab.command("alice", [sys.executable, "-c", script])
        self.assertIn(b"junk", subprocess.check_output(command))

    def test_decoyIPv6(self) -> None:
        """
        A stranger with an address of IPv6 answers there as well.
        """
        lab = self.build("ipv6:none/none", stranger="2001:db8:9::1")
        script = """
import socket
sending = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sending.connect(("2001:db8:9::1", 99))
sending.send(b"?")
print(sending.recv(9), socket.create_connection(("2001:db8:9::1", 99)).recv(9))
"""
        said = subprocess.check_output(lab.command("alice", [sys.executable, "-c", script]))
        self.assertIn(b"?", said)
        self.assertIn(b"junk", said)
