"""
The common options, and what is said about wrong ones.
"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport
from holepunch.cli.main import main
from holepunch.cli.options import PeerOptions
from holepunch.punch import TCPFlow
from holepunch.rendezvous.introduction import RelayPolicy

SERVICE = ("--rendezvous", "192.0.2.1")

WRONG_USAGE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("connect",), "Missing argument 'PEER'"),
    (("connect", "bob"), "no rendezvous service: give --rendezvous"),
    (("connect", "bob", "--rendezvous", "host:0"), "port 0"),
    (("connect", "bob", "--rendezvous", "host:70000"), "'70000' is not a port number"),
    (("connect", "bob", "--rendezvous", "host:one"), "'one' is not a port number"),
    (("connect", "bob", "--rendezvous", "short@host"), "'short' is not a peer ID"),
    (("connect", "bob", "--rendezvous", ":4460"), "names no host"),
    (("connect", "bob", "--rendezvous", "a" * 64), "cannot be the name of a host"),
    (("connect", "bob", "--rendezvous", "a..b"), "cannot be the name of a host"),
    (("check", "--stun", "a" * 64), "cannot be the name of a host"),
    (("connect", "bob", *SERVICE, "--transport", "sctp"), "'sctp' is not one of"),
    (("connect", "bob", *SERVICE, "--relay", "always"), "'always' is not one of"),
    (("connect", "bob", *SERVICE, "--tcp-flow", "both"), "'both' is not one of"),
    (("connect", "bob", *SERVICE, "--timeout", "soon"), "'soon' is not a number of seconds"),
    (("connect", "bob", *SERVICE, "--timeout", "0"), "0 is not above 0"),
    (("connect", "bob", *SERVICE, "--timeout", "nan"), "nan is not above 0"),
    (("connect", "bob", *SERVICE, "--timeout", "1e9"), "at most 86400"),
    (("connect", "bob and alice", *SERVICE), "'bob and alice' is no name"),
    (("connect", "", *SERVICE), "'' is no name"),
    (("listen", *SERVICE, "--name", "a" * 64), "is no name"),
    (("listen", *SERVICE, "--name", "a" * 52), "is no name"),
    (("listen", *SERVICE, "--echo", "--exec", "cat"), "cannot both answer"),
    (("ping", "bob", *SERVICE, "-c", "-1"), "-1 is not in the range"),
    (("ping", "bob", *SERVICE, "--interval", "x"), "'x' is not a number of seconds"),
    (("check",), "no STUN server: give --stun"),
    (("check", "--stun", "host:x"), "'x' is not a port number"),
    (("check", "--stun", "host:0"), "port 0"),
    (("check", "--rendezvous", "x@host"), "'x' is not a peer ID"),
)


class WrongUsageTests(SynchronousTestCase):
    """
    Wrong usage.
    """

    def test_wrongUsage(self) -> None:
        """
        Each wrong usage ends with status 2 and a sentence on stderr; stdout stays empty.
        """
        runner = CliRunner(env={"HOLEPUNCH_RENDEZVOUS": "", "HOLEPUNCH_IDENTITY": ""})
        for arguments, sentence in WRONG_USAGE:
            ran = runner.invoke(main, arguments)
            self.assertEqual((ran.exit_code, ran.stdout), (2, ""), arguments)
            self.assertIn(sentence, " ".join(ran.stderr.split()), arguments)

    def test_environment(self) -> None:
        """
        The rendezvous service may come from the environment.
        """
        runner = CliRunner(env={"HOLEPUNCH_RENDEZVOUS": "host:none"})
        self.assertIn("'none' is not a port", runner.invoke(main, ["connect", "bob"]).stderr)


class PeerOptionsTests(SynchronousTestCase):
    """
    What the options mean.
    """

    def read(self, **changes: object) -> PeerOptions:
        values: dict[str, object] = {
            "rendezvous": "example.org",
            "transport": "auto",
            "tcpFlow": "simultaneous",
            "relay": "auto",
            "identity": Path("keys", "me.pem"),
        }
        return PeerOptions.read(**{**values, **changes})  # type: ignore[arg-type]

    def test_automatic(self) -> None:
        """
        C{auto} is both transports, for streams, too.
        """
        options = self.read()
        self.assertEqual(options.sessionOptions().transports, frozenset(Transport))
        self.assertEqual(options.streamOptions(), options.sessionOptions())

    def test_given(self) -> None:
        """
        What the person says is used.
        """
        session = self.read(transport="udp", tcpFlow="sequential", timeout=7.0).sessionOptions()
        self.assertEqual(session.transports, {Transport.UDP})
        self.assertEqual((session.tcpFlow, session.timeout), (TCPFlow.SEQUENTIAL, 7.0))

    def test_relay(self) -> None:
        """
        Each word is a policy.
        """
        for policy in RelayPolicy:
            self.assertIs(self.read(relay=policy.value).sessionOptions().relay, policy)

    def test_knownServices(self) -> None:
        """
        The known services lie beside the identity.
        """
        self.assertEqual(self.read().knownServices, Path("keys", "known_services"))
