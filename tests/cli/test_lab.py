"""
The commands of C{holepunch lab}, as programs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from holepunch.cli.lab import LAB_COMMANDS
from holepunch.cli.main import main
from holepunch.lab.enginelink import engineEnvironment
from holepunch.lab.standing import StandingLab
from holepunch.nat import DropReason

PYTHON = sys.executable
#: Waits for a connection, and tells from where it came.
LISTEN = """
import socket
listening = socket.create_server(("", 80))
connection, source = listening.accept()
print("from", source[0])
"""
#: Connects, again and again until somebody listens.
CONNECT = """
import socket, time
while True:
    try:
        socket.create_connection(("31.2.0.10", 80))
        break
    except OSError:
        time.sleep(0.02)
print("connected")
"""
#: Sends one datagram to nobody.
SEND = """
import socket
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sending.bind(("", 4000))
sending.sendto(b"hello", ("5.9.0.1", 80))
"""


class LabTestCase(SynchronousTestCase):
    """
    Tests with a folder of their own for labs.
    """

    def setUp(self) -> None:
        """
        No other labs are seen; those of the test are ended.
        """
        runtime = Path(self.mktemp()).resolve()
        runtime.mkdir(mode=0o700)
        # A UNIX socket's path must be short, and trial's own folders are deep.
        short = Path("/tmp") / f"hp-{os.getpid()}-{id(self) % 10**6}"
        short.symlink_to(runtime)
        self.addCleanup(short.unlink)
        environment = {**engineEnvironment(), "XDG_RUNTIME_DIR": str(short)}
        self.patch(os, "environ", environment)
        self.addCleanup(self._clear)

    def _clear(self) -> None:
        for lab in StandingLab.all():
            lab.down()

    def lab(self, *arguments: str) -> Result:
        """
        Run a command of the group in this process.
        """
        return CliRunner().invoke(main, ["lab", *arguments])

    def done(self, *arguments: str) -> str:
        """
        Run one that succeeds.

        @return: Its report.
        """
        ran = self.lab(*arguments)
        self.assertEqual(ran.exit_code, 0, ran.output)
        return ran.stdout

    def program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run one as a process.
        """
        command = [PYTHON, "-m", "holepunch", "lab", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


class GroupTests(LabTestCase):
    """
    The list of commands.
    """

    def test_help(self) -> None:
        """
        Every command can be imported, and its help begins as the list says.
        """
        listed = self.done("--help")
        for name, home in LAB_COMMANDS.items():
            self.assertIn(f"\n  {name} ", listed)
            self.assertIn(home.help.rstrip("."), " ".join(self.done(name, "--help").split()))

    def test_behaviours(self) -> None:
        """
        The names that a topology can have are listed, each with what it is.
        """
        listed = self.done("behaviours")
        for name in ("symmetric ", "home-router ", "corporate-firewall ", "kernel"):
            self.assertIn(name, listed)
        for detail in (
            "lets out only TCP 443",
            "RST to the unsolicited",
            "end after 3600 s",
            "blocks UDP",
        ):
            self.assertIn(detail, listed)
        self.assertEqual(listed.count("one port for all while it can"), 1)


class LifeTests(LabTestCase):
    """
    C{up}, C{list}, C{exec}, C{shell} and C{down}.
    """

    def test_life(self) -> None:
        """
        A lab is built, listed, and taken down.
        """
        said = self.lab("up", "pf/kernel", "--seed", "3").stderr
        self.assertIn("alice (192.168.1.10), bob (192.168.2.10); NATs nat-alice (31.1.0.1)", said)
        (line,) = self.done("list", "--json").splitlines()
        said = json.loads(line)
        self.assertEqual(
            (said["lab"], said["up"], said["topology"], said["seed"]), ("lab", True, "pf/kernel", 3)
        )
        self.assertIn("pf/kernel", self.done("list"))
        self.done("down")
        self.assertEqual(self.done("list", "--json"), "")

    def test_exec(self) -> None:
        """
        A command on a host has its input, its arguments and its exit status.
        """
        self.done("up", "none/none", "--name", "work")
        ran = self.program("exec", "alice", "--", "sh", "-c", "hostname -I 2>&1; exit 5", "--json")
        self.assertEqual(ran.returncode, 5)
        ran = self.program("exec", "--lab", "work", "bob", "cat", "/proc/net/fib_trie")
        self.assertIn("31.2.0.10", ran.stdout)
        self.assertEqual(self.program("exec", "carol", "--", "true").returncode, 1)
        self.assertEqual(self.program("exec", "alice", "--").returncode, 2)

    def test_shell(self) -> None:
        """
        A shell on a host is the person's own, and knows where it is.
        """
        self.done("up", "none/none")
        os.environ["SHELL"] = "/bin/sh"
        ran = subprocess.run(
            [PYTHON, "-m", "holepunch", "lab", "shell", "bob"],
            input="echo $HOLEPUNCH_LAB_HOST; exit 4\n",
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        self.assertEqual((ran.returncode, ran.stdout), (4, "bob\n"))

    def test_killed(self) -> None:
        """
        A lab that was killed is listed as such, and taken down like any other.
        """
        self.done("up", "none/none")
        lab = StandingLab.find()
        os.kill(lab.record.pid, signal.SIGKILL)
        while lab.isUp:
            pass
        self.assertFalse(json.loads(self.done("list", "--json"))["up"])
        self.assertIn("killed", self.done("list"))
        self.done("down", "--all")
        self.assertEqual(self.done("list", "--json"), "")

    def test_rendezvous(self) -> None:
        """
        With C{--rendezvous}, the programs in the lab find a service, each peer as itself.
        """
        self.done("up", "none/none", "--rendezvous", "--latency", "1ms")
        ours = [PYTHON, "-m", "holepunch"]
        peers = [
            self.program("exec", host, "--", *ours, "id").stdout.strip()
            for host in ("alice", "bob")
        ]
        self.assertEqual(len({*peers}), 2)
        ping = [*ours, "ping", "nobody", "--json"]
        refused = self.program("exec", "alice", "--", *ping)
        self.assertIn("registered", refused.stderr)

    def test_wrong(self) -> None:
        """
        What the person wrote wrong is told with position and expectation, and is wrong usage.
        """
        path = Path(self.mktemp())
        path.write_text("[host alice]\naddress = 5.1.0.9\nloss = much\n")
        for arguments, words in (
            (["up", "none/nothing"], "column 6"),
            (["up", str(path)], "line 3, column 8: expected a share"),
            (["up", str(path), "--loss", "1%"], "is a file"),
            (["up", "missing.lab"], "No such file"),
            (["up", "none/none", "--latency", "soon"], "20ms"),
            (["up", "none/none", "--pcap", "alice"], "expected PART=FILE"),
            (["up", "none/none", "--pcap", "carol=x"], "'carol'"),
            (["run", "none/none", "--", "true"], "---"),
            (["run", "none/none", "--", "true", "---"], "after ---"),
        ):
            ran = self.lab(*arguments)
            self.assertEqual(ran.exit_code, 2, ran.output)
            self.assertIn(words, ran.stderr)

    def test_failure(self) -> None:
        """
        What the lab refuses is a failure, told in the form that was asked for.
        """
        ran = self.lab("down", "nothing")
        self.assertEqual(ran.exit_code, 1)
        self.assertIn("no lab 'nothing'", ran.stderr)
        ran = self.lab("mappings", "nat", "--json")
        self.assertEqual(ran.exit_code, 1)
        self.assertEqual(json.loads(ran.stderr)["event"], "failed")


class NetworkTests(LabTestCase):
    """
    Looking at the network, and changing it.
    """

    def send(self) -> None:
        """
        Let alice send a datagram, and wait until the lab has taken it.
        """
        lab = StandingLab.find()
        before = lab.counters("alice")["wire"].get("received", 0)
        self.assertEqual(self.program("exec", "alice", "--", PYTHON, "-c", SEND).returncode, 0)
        while lab.counters("alice")["wire"].get("received", 0) == before:
            pass

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """
        The JSON lines of a report.
        """
        return [json.loads(line) for line in self.done(*arguments, "--json").splitlines()]

    def test_mappings(self) -> None:
        """
        Mappings are shown, forgotten by a flush, and made elsewhere after a rebind.
        """
        self.done("up", "port-restricted/none", "--latency", "0")
        self.send()
        (line,) = self.lines("mappings", "nat-alice")
        self.assertEqual(
            (line["protocol"], line["internal"], line["external"], line["remotes"]),
            ("udp", "192.168.1.10:4000", "31.1.0.1:4000", ["5.9.0.1:80"]),
        )
        self.assertIn("31.1.0.1:4000", self.done("mappings", "nat-alice"))
        self.done("flush", "nat-alice")
        self.assertEqual(self.lines("mappings", "nat-alice"), [])
        self.assertEqual(self.done("rebind", "nat-alice"), "31.1.0.2\n")
        self.send()
        (line,) = self.lines("mappings", "nat-alice")
        self.assertEqual(line["external"], "31.1.0.2:4000")

    def test_block(self) -> None:
        """
        What is blocked makes no mapping, until it is unblocked.
        """
        self.done("up", "port-restricted/none", "--latency", "0")
        self.done("block", "nat-alice", "udp")
        self.send()
        self.assertEqual(self.lines("mappings", "nat-alice"), [])
        self.done("unblock", "nat-alice", "udp")
        self.send()
        self.assertEqual(len(self.lines("mappings", "nat-alice")), 1)
        (line,) = self.lines("stats", "nat-alice")
        self.assertEqual(line["dropped"], {DropReason.BLOCKED.value: 1})
        self.assertIn("dropped 1: the protocol is blocked", self.done("stats", "nat-alice"))
        self.assertEqual(self.lab("block", "nat-alice", "sctp").exit_code, 2)

    def test_blockPing(self) -> None:
        """
        ICMP is blocked by itself, by the kernel's own NAT as well.
        """
        self.done("up", "port-restricted/kernel", "--latency", "0")
        ping = ["ping", "-c", "1", "-W", "1", "5.1.0.1"]
        for host in ("alice", "bob"):
            self.assertEqual(self.program("exec", host, "--", *ping).returncode, 0)
            self.done("block", f"nat-{host}", "icmp")
            self.assertEqual(self.program("exec", host, "--", *ping).returncode, 1)
            self.done("unblock", f"nat-{host}", "icmp")
            self.assertEqual(self.program("exec", host, "--", *ping).returncode, 0)

    def test_stats(self) -> None:
        """
        The counters tell who sent what to whom, for people and for programs.
        """
        self.done("up", "port-restricted/none", "--latency", "0")
        self.send()
        (line,) = self.lines("stats", "alice")
        (flow,) = line["flows"]
        self.assertEqual((line["addresses"], line["link"]["sent"]), (["192.168.1.10"], 1))
        self.assertEqual((flow["protocol"], flow["remote"], flow["sent"]), ("udp", "5.9.0.1", 1))
        self.assertEqual(len(self.lines("stats")), 4)
        self.assertIn("192.168.1.10 with 5.9.0.1:", self.done("stats", "alice"))
        wrong = self.lab("stats", "alice", "carol")
        self.assertEqual((wrong.exit_code, wrong.stdout), (1, ""))
        self.assertIn("only rendezvous, alice, bob, nat-alice", wrong.stderr)

    def test_noLatency(self) -> None:
        """
        A latency of nothing is one.
        """
        self.done("up", "none/none", "--latency", "0")
        ping = self.program("exec", "alice", "--", "ping", "-c", "5", "-i", "0.2", "5.1.0.1")
        least = float(ping.stdout.partition("mdev = ")[2].partition("/")[0])
        # The links' usual latency makes 20 ms.
        self.assertLess(least, 15.0)

    def test_link(self) -> None:
        """
        A link that loses everything counts it as lost.
        """
        self.done("up", "none/none")
        self.done("link", "alice", "--loss", "100%")
        self.send()
        (line,) = self.lines("stats", "alice")
        self.assertEqual(line["link"]["lost"], 1)

    def test_mtu(self) -> None:
        """
        A host's interface has the MTU of its link, unless that is a black hole.
        """
        self.done("up", "two-interfaces:pf/none/pf", "--mtu", "1400")
        for options, mtu in (
            ((), 1400),
            (("--mtu", "1300", "--black-hole"), 1500),
            (("--mtu", "1300"), 1300),
        ):
            if options:
                self.done("link", "alice-mobile", *options)
            shown = self.program("exec", "alice", "--", "ip", "link", "show", "eth1")
            self.assertIn(f"mtu {mtu} ", shown.stdout)
        self.assertEqual(len(self.lines("stats")), 6)
        self.assertEqual(self.lab("link", "alice", "--mtu", "many").exit_code, 2)

    def test_capture(self) -> None:
        """
        A capture, from the beginning or later, can be read with tshark.
        """
        first, second = (Path(self.mktemp()).resolve() for _ in range(2))
        self.done("up", "pf/none", "--latency", "0", "--pcap", f"alice={first}")
        self.done("capture", "nat-alice", str(second))
        self.send()
        self.done("capture", "nat-alice", "--stop")
        for path, source in ((first, "192.168.1.10"), (second, "31.1.0.1")):
            command = ["tshark", "-r", str(path), "-T", "fields", "-e", "ip.src"]
            said = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
            self.assertEqual(said.split(), [source])
        self.assertEqual(self.lab("capture", "alice").exit_code, 2)


class RunTests(LabTestCase):
    """
    C{run}.
    """

    def run_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run programs without a service.
        """
        return self.program("run", "--latency", "1ms", "--no-rendezvous", *arguments)

    def test_twoPrograms(self) -> None:
        """
        Two programs that know nothing of us meet, and their lines are told apart.
        """
        first = ["port-restricted/none", "--stats", "--", PYTHON, "-c", CONNECT]
        ran = self.run_(*first, "---", PYTHON, "-c", LISTEN)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(
            sorted(ran.stdout.splitlines()), ["alice: connected", "bob:   from 31.1.0.1"]
        )
        self.assertIn("192.168.1.10 with 31.2.0.10:", ran.stderr)

    def test_stats(self) -> None:
        """
        C{--stats} shows all interfaces, and what the NATs dropped.
        """
        script = "import socket as s, time; a = s.socket(s.AF_INET, s.SOCK_DGRAM)\n"
        outward = script + "a.bind(('10.64.0.10', 0)); a.sendto(b'x', ('31.2.0.10', 9))"
        inward = script + "a.sendto(b'x', ('31.1.0.1', 9)); time.sleep(0.3)"
        ran = self.run_(
            *["two-interfaces:pf/none/pf", "--stats", "--", PYTHON, "-c", outward],
            *["---", PYTHON, "-c", inward],
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("10.64.0.10 with 31.2.0.10:", ran.stderr)
        self.assertIn("nat-alice: dropped 1: nothing is mapped at that port", ran.stderr)

    def test_failure(self) -> None:
        """
        When one program fails, the other is ended, and its status is ours.
        """
        ran = self.run_(
            "none/none", "--", "sleep", "600", "---", "sh", "-c", "printf why >&2; exit 7"
        )
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (7, "", "bob:   why\n"))

    def test_first(self) -> None:
        """
        With C{--first}, all is well when one of them has ended well.
        """
        ran = self.run_("none/none", "--first", "--", "true", "---", "sleep", "600")
        self.assertEqual(ran.returncode, 0, ran.stderr)

    def test_timeout(self) -> None:
        """
        After the time-out, both are ended, and that is a failure.
        """
        programs = ["--", "sleep", "600", "---", "true"]
        ran = self.run_("none/none", "--timeout", "0.3", "--json", *programs)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("did not end within 0.3 seconds", json.loads(ran.stderr)["reason"])

    def test_rendezvous(self) -> None:
        """
        By default a rendezvous service runs, and both programs know it.
        """
        ours = [PYTHON, "-m", "holepunch"]
        ran = self.program(
            *["run", "port-restricted/kernel", "--latency", "1ms", "--head-start"],
            *["3", "--first", "--", *ours, "ping", "bob", "-c", "1", "---"],
            *[*ours, "listen", "--name", "bob", "--keep"],
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("alice: 1 sent, 1 received", ran.stdout + ran.stderr)
