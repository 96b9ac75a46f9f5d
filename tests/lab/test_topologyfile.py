"""
Tests for L{holepunch.lab.topologyfile} and L{holepunch.lab.quantity}.
"""

from __future__ import annotations

from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.errors import BadTopology
from holepunch.lab.quantity import parseRate, parseSeconds, parseShare
from holepunch.lab.topology import LinkSpec, Topology
from holepunch.lab.topologyfile import parseTopology, readTopology
from holepunch.nat import (
    NAMED_BEHAVIOURS,
    PRESETS,
    Filtering,
    Fragments,
    Mapping,
    NATBehaviour,
    Protocol,
    Service,
    Unsolicited,
)

NETWORK = """
# Two homes behind one carrier.
[link]
latency = 20ms
jitter = 5ms

[host rendezvous]
address = 5.1.0.1, 5.2.0.1

[nat carrier]
behaviour = carrier-grade
mapping-lifetime = 2h
address = 31.3.0.1
inside = 100.64.0.0/10

[nat home]
behind = carrier
behaviour = home-router     ; as bought
udp-timeout = 20s
unsolicited = rst
outbound = tcp:443, udp:53
blocked = udp icmp
address = 100.64.1.1
inside = 192.168.1.0/24
rate = 10Mbit

[nat office]
mapping = address-and-port-dependent
filtering = address-dependent
hairpin = no
address = 31.4.0.1
inside = 10.0.0.0/8

[host alice]
behind = home
address = 192.168.1.10
loss = 1%

[host stranger]
behind = home
address = 192.168.1.20
decoy = yes

[host bob]
behind = office
address = 10.1.2.3
"""
_HOST = "[host alice]\naddress = 5.1.0.9\n"


class FileTests(SynchronousTestCase):
    """
    Files that make sense.
    """

    def test_parts(self) -> None:
        """
        All parts are there, each in its place.
        """
        topology = parseTopology(NETWORK)
        self.assertEqual(topology.host("rendezvous").addresses, ("5.1.0.1", "5.2.0.1"))
        above = [nat.name for nat in topology.natsAbove(topology.host("alice"))]
        self.assertEqual(above, ["home", "carrier"])
        self.assertEqual([host.name for host in topology.hosts if host.isDecoy], ["stranger"])

    def test_links(self) -> None:
        """
        A part has the common link, but for what it says itself.
        """
        topology = parseTopology(NETWORK)
        common = LinkSpec(latency=0.02, jitter=0.005)
        self.assertEqual(topology.host("bob").link, common)
        self.assertEqual(topology.host("alice").link, attrs.evolve(common, loss=0.01))
        self.assertEqual(topology.nat("home").link, attrs.evolve(common, rate=1e7))

    def test_behaviours(self) -> None:
        """
        A NAT behaves as the one named, but for what it says itself.
        """
        topology = parseTopology(NETWORK)
        self.assertEqual(
            topology.nat("home").behaviour,
            attrs.evolve(
                PRESETS["home-router"],
                udpTimeout=20.0,
                unsolicited=Unsolicited.RST,
                outbound=(Service(Protocol.TCP, 443), Service(Protocol.UDP, 53)),
                blocked=(Protocol.UDP, Protocol.ICMP),
            ),
        )
        self.assertEqual(topology.nat("carrier").behaviour.mappingLifetime, 7200.0)
        self.assertEqual(
            topology.nat("office").behaviour,
            NATBehaviour(
                mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
                filtering=Filtering.ADDRESS_DEPENDENT,
                hairpin=False,
            ),
        )

    def test_everyDetail(self) -> None:
        """
        Every attribute of a behaviour can be given.
        """
        details = """
            mapping = endpoint-independent
            filtering = endpoint-independent
            ports = sequential
            port-step = 2
            first-port = 2000
            last-port = 3000
            overloads-ports = no
            hairpin = no
            unsolicited = icmp
            one-to-one = no
            udp-timeout = 1s
            tcp-established-timeout = 1h
            tcp-transitory-timeout = 1min
            icmp-timeout = 20s
            mapping-lifetime = 500ms
            outbound = tcp:80
            blocked = udp
            refresh = both
            fragments = drop
            drops-mapping-on-reset = yes
            checks-sequence = yes
            max-mappings = 1
            max-mappings-per-host = 2
            max-sessions = 3
        """
        self.assertEqual(details.count("="), len(attrs.fields(NATBehaviour)))
        place = "[nat home]\naddress = 31.1.0.1\ninside = 10.0.0.0/8\n"
        behaviour = parseTopology(_HOST + place + details).nat("home").behaviour
        self.assertEqual((behaviour.portStep, behaviour.maxSessions), (2, 3))
        self.assertTrue(behaviour.dropsMappingOnReset)

    def test_kernel(self) -> None:
        """
        A kernel NAT needs no behaviour: it has Linux's.
        """
        text = _HOST + "[nat home]\nkernel = yes\naddress = 31.1.0.1\ninside = 10.0.0.0/8"
        nat = parseTopology(text).nat("home")
        self.assertTrue(nat.isKernel)
        self.assertEqual(nat.behaviour, NAMED_BEHAVIOURS["linux-masquerade"])

    def test_documentation(self) -> None:
        """
        The file that the documentation shows is one, and every device is named there.
        """
        text = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
        topology = parseTopology(text.split("```ini\n")[1].split("```")[0])
        self.assertEqual(topology.nat("office").behaviour.outbound[1], Service(Protocol.UDP, 53))
        for name in PRESETS:
            self.assertIn(f"`{name}`", text)

    def test_examples(self) -> None:
        """
        The examples are topologies, and so are the sections that the documentation shows alone.
        """
        root = Path(__file__).parents[2]
        names = [readTopology(path).hosts[0].name for path in (root / "examples/lab").iterdir()]
        self.assertEqual(set(names), {"rendezvous"})
        text = (root / "docs" / "lab.md").read_text()
        place = "[host alice]\naddress = 31.9.0.9\n[nat carrier]\nbehaviour = pf\n"
        place += "address = 31.8.0.8\ninside = 100.64.0.0/10\n"
        for block in text.split("```ini\n")[2:]:
            parseTopology(place + block.split("```")[0])

    def test_dualStack(self) -> None:
        """
        A router has a firewall beside its NAT, of which each detail can be given.
        """
        text = (
            "[nat home]\nbehaviour = pf\naddress = 31.1.0.1, 2001:db8::2\n"
            "inside = 10.0.0.0/8, 2001:db8:1::/64\n"
        )
        home = parseTopology(_HOST + text).nat("home")
        self.assertEqual(home.gateways, ("10.0.0.1", "2001:db8:1::1"))
        self.assertEqual(home.firewall, NAMED_BEHAVIOURS["firewall"])
        text += "firewall = no-nat\nfirewall-udp-timeout = 9s\nfirewall-fragments = drop\n"
        firewall = parseTopology(_HOST + text).nat("home").firewall
        self.assertEqual((firewall.udpTimeout, firewall.fragments), (9.0, Fragments.DROP))
        self.assertEqual(firewall.filtering, Filtering.ENDPOINT_INDEPENDENT)

    def test_firewall(self) -> None:
        """
        A router that translates nothing is a firewall unless another one-to-one kind is named.
        """
        text = "[nat wall]\ntranslates = no\naddress = 31.1.0.1\ninside = 31.9.0.0/24\n"
        self.assertEqual(
            parseTopology(_HOST + text).nat("wall").behaviour, NAMED_BEHAVIOURS["firewall"]
        )
        open = parseTopology(_HOST + text + "behaviour = no-nat").nat("wall").behaviour
        self.assertEqual(open, NAMED_BEHAVIOURS["no-nat"])

    def test_interfaces(self) -> None:
        """
        A host has as many interfaces as sections name it.
        """
        text = "[interface wifi]\nhost = alice\naddress = 31.2.0.2\nmtu = 1400\nblack-hole = yes\n"
        text += "[interface mobile]\nhost = alice\naddress = 31.2.0.3"
        alice = parseTopology(_HOST + text).host("alice")
        self.assertEqual([each.name for each in alice.interfaces], ["wifi", "mobile"])
        link = LinkSpec(mtu=1400, isBlackHole=True)
        self.assertEqual(alice.interfaces[0].link, link)
        self.assertEqual(link.interfaceMTU, 1500)

    def test_read(self) -> None:
        """
        A file is read from the disk; one that is not there is refused by its name.
        """
        path = Path(self.mktemp())
        self.assertIn(str(path), str(self.assertRaises(BadTopology, readTopology, path)))
        path.write_text(NETWORK)
        self.assertEqual(readTopology(path), parseTopology(NETWORK))
        path.write_bytes(b"# text\n\xff")
        error = self.assertRaises(BadTopology, readTopology, path)
        self.assertEqual(str(error), f"{path}, line 2: expected text in UTF-8")


class ErrorTests(SynchronousTestCase):
    """
    Files that make none.
    """

    def check(self, text: str, position: str, *words: str) -> None:
        """
        The error has that position and those words.
        """
        error = str(self.assertRaises(BadTopology, parseTopology, text, "net.lab"))
        self.assertTrue(error.startswith(f"net.lab, {position}: "), error)
        for word in words:
            self.assertIn(word, error)

    def test_lines(self) -> None:
        """
        A line that is none of the grammar is told with line and column, and what was expected.
        """
        self.check("", "line 1, column 1", "[host NAME]")
        self.check("address = 1.2.3.4", "line 1, column 1", "[host alice]")
        self.check("[host alice]\n  address", "line 2, column 3", "KEY = VALUE")
        self.check("[host alice]\naddress =", "line 2, column 10", "a value for address")
        for wrong in ("[router x]", "[host]", "[link x]", "[host x", "[host x] y"):
            self.check(
                wrong, "line 1, column 1", "[link], [host NAME], [interface NAME] or [nat NAME]"
            )

    def test_keys(self) -> None:
        """
        Unknown keys are told with those that are known, repeated ones with the first.
        """
        self.check(_HOST + "colour = red", "line 3, column 1", "'colour'", "latency", "behind")
        self.check(_HOST + "udp-timeout = 1", "line 3, column 1", "'udp-timeout'")
        self.check(_HOST + "adress = 1", "line 3, column 1", "expected address, not 'adress'")
        nat = "[nat home]\nbehavior = pf"
        self.check(_HOST + nat, "line 4, column 1", "expected behaviour, not", "with firewall-")
        self.check(_HOST + "address = 5.1.0.8", "line 3, column 1", "in line 2")

    def test_values(self) -> None:
        """
        Values of the wrong kind are told with the right kind, at their own column.
        """
        nat = "[nat home]\naddress = 31.1.0.1\ninside = 10.0.0.0/8\n"
        for entry, column, words in (
            ("latency = soon", 11, "a time such as 20ms"),
            ("loss  =  much", 10, "a share such as 1%"),
            ("rate = 5 parsec", 8, "10Mbit"),
            ("hairpin = maybe", 11, "yes or no"),
            ("port-step = 1.5", 13, "whole number"),
            ("mapping = round", 11, "endpoint-independent, address-dependent"),
            ("outbound = 443", 12, "tcp:443"),
            ("outbound = tcp:70000", 12, "tcp:443"),
            ("blocked = quic", 11, "protocols such as udp"),
            ("behaviour = magic", 13, "corporate-firewall"),
            ("firewall = magic", 12, "no-nat"),
            ("firewall-filtering = none", 22, "endpoint-independent"),
            ("mtu = big", 7, "bytes such as 1492"),
            ("fragments = maybe", 13, "forward, drop"),
        ):
            text = f"{_HOST}{nat}{entry}\n"
            if "behaviour" not in entry:
                text += "behaviour = pf\n"
            self.check(text, f"line 6, column {column}", words)

    def test_wrongTogether(self) -> None:
        """
        Values that do not go together are told at their section.
        """
        nat = "[nat home]\naddress = 31.1.0.1\ninside = 10.0.0.0/8\n"
        self.check(_HOST + nat + "behaviour = pf\nmtu = 20", "line 7, column 7", "from 68")
        self.check(
            _HOST + nat + "behaviour = pf\ntranslates = no", "line 3, column 1", "one-to-one"
        )
        self.check(_HOST + nat + "translates = no", "line 3, column 1", "not public")
        text = _HOST + nat + "behaviour = pf\nfirewall = pf"
        self.check(text, "line 3, column 1", "one-to-one")

    def test_missing(self) -> None:
        """
        What is missing is told at its section.
        """
        self.check("[host alice]\nlatency = 1s", "line 1, column 1", "address = ")
        nat = "[nat home]\naddress = 31.1.0.1\n"
        self.check(_HOST + nat, "line 3, column 1", "inside = ", "[nat home]")
        nat += "inside = 10.0.0.0/8\n"
        self.check(_HOST + nat, "line 3, column 1", "behaviour = ")
        interface = "[interface mobile]\naddress = 31.2.0.2\n"
        self.check(_HOST + interface, "line 3, column 1", "host = ")
        self.check(_HOST + interface + "host = bob", "line 5, column 8", "a host", "alice")
        self.check(_HOST + nat + "mapping = address-dependent", "line 3, column 1", "filtering = ")

    def test_senseless(self) -> None:
        """
        What can be read but cannot be is told at the value that is wrong, by its key, or at its
        section.
        """
        self.check("[host a_b]\naddress = 5.1.0.9", "line 1, column 1", "'a_b'")
        self.check("[host alice]\naddress = 5.1.0.9, here", "line 2, column 20", "'here'")
        self.check(_HOST + "loss = 200%", "line 3, column 8", "loss is a share")
        self.check(_HOST + "behind = home", "line 3, column 10", "no NAT 'home'")
        self.check(_HOST + "[host bob]\naddress = 5.1.0.9", "line 4, column 11", "both have")
        nat = "[nat home]\nbehaviour = pf\nudp-timeout = 0\naddress = 31.1.0.1\ninside = 10.0.0.0/8"
        self.check(_HOST + nat, "line 5, column 15", "udp-timeout must be ")

    @given(
        st.sampled_from(["", NETWORK]),
        st.text(alphabet="[]=#%. \nhostnatlink15", max_size=60) | st.text(max_size=60),
    )
    def test_anything(self, prefix: str, text: str) -> None:
        """
        Whatever a file holds, it is a topology or refused with a sentence.
        """
        try:
            self.assertIsInstance(parseTopology(prefix + text), Topology)
        except BadTopology as error:
            self.assertIn("line ", str(error))


class QuantityTests(SynchronousTestCase):
    """
    Numbers with units.
    """

    def test_units(self) -> None:
        """
        Units are those that people use.
        """
        for text, value in (("2", 2.0), ("1.5 s", 1.5), ("20ms", 0.02), ("5min", 300.0)):
            self.assertAlmostEqual(parseSeconds(text), value)
        for text, value in (("0.5", 0.5), ("3%", 0.03)):
            self.assertAlmostEqual(parseShare(text), value)
        for text, value in (("9600", 9600.0), ("10Mbit", 1e7), (".5 gbit", 5e8)):
            self.assertAlmostEqual(parseRate(text), value)

    def test_wrong(self) -> None:
        """
        Anything else is refused.
        """
        for text in ("", "ms", "1 parsec", "-1", "1,5", "nan", "1%"):
            self.assertRaises(BadTopology, parseSeconds, text)
