"""
Tests for L{holepunch.lab.fragments}, and for what L{holepunch.lab.ippacket} makes of IPv6, echoes
and fragments.
"""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.lab.checksum import checksum
from holepunch.lab.fragments import divided, fragmentLimit, ipLength, tooBigFor
from holepunch.lab.ippacket import (
    NEEDS_CHECKSUM,
    Dividable,
    Ignored,
    RawSegment,
    decodeIP,
    encodeIP,
    readEcho,
)
from holepunch.nat import (
    ECHO_PORT,
    Echo,
    ICMPError,
    Packet,
    Protocol,
    Reassembly,
    TCPFlag,
    UnreachableCode,
    carriedProtocol,
)

ENDS = (
    (TransportAddress("192.168.1.10", 4000), TransportAddress("5.1.0.1", 3478)),
    (TransportAddress("2001:db8:1::10", 4000), TransportAddress("2001:db8:5:1::1", 3478)),
)
MAPPED = (TransportAddress("31.1.0.1", 61000), TransportAddress("2001:db8:9::9", 61000))
ROUTERS = (TransportAddress("5.0.0.1", 0), TransportAddress("2001:db8::1", 0))


def onWire(packet: Packet) -> bytes:
    """
    The IP packet that a packet is written as.
    """
    _, head, rest = encodeIP(packet)
    return head + bytes(rest)


def read(data: bytes) -> Packet:
    """
    Read an IP packet that must be one.
    """
    packet = decodeIP(data)
    assert isinstance(packet, Packet), packet
    return packet


def isRight(data: bytes) -> bool:
    """
    Has an unfragmented IP packet the right checksum above IP?
    """
    if data[0] >> 4 == 4:
        content, number = data[20:], data[9]
        hosts = data[12:20] if number != 1 else b""
    else:
        content, number = data[40:], data[6]
        hosts = data[8:40]
    pseudo = hosts + len(content).to_bytes(4, "big") + number.to_bytes(4, "big") if hosts else b""
    return checksum(pseudo + content) == b"\0\0"


def datagram(index: int, content: bytes = b"hello") -> Packet:
    """
    A datagram that came from a wire, over either IP version.
    """
    return read(onWire(Packet(Protocol.UDP, *ENDS[index], payload=Dividable(content))))


def echo(index: int, size: int = 5, isReply: bool = False) -> Packet:
    """
    An echo, request or reply, as the simulator has it.
    """
    near = TransportAddress(ENDS[index][0].host, 77)
    far = TransportAddress(ENDS[index][1].host, ECHO_PORT)
    source, destination = (far, near) if isReply else (near, far)
    payload = Echo(isReply=isReply, sequence=3, data=bytes(size))
    return Packet(Protocol.ICMP, source, destination, payload=payload)


class PacketTests(SynchronousTestCase):
    """
    What is read is what was written, over both IP versions.
    """

    def test_datagrams(self) -> None:
        """
        Datagrams and segments keep their ends, and have right checksums, with new ends as well.
        """
        for index, (source, destination) in enumerate(ENDS):
            for protocol in (Protocol.UDP, Protocol.TCP):
                fresh = Packet(
                    protocol, source, destination, payload=b"odd", flags=TCPFlag.SYN, ttl=9
                )
                packet = read(onWire(fresh))
                self.assertEqual((packet.source, packet.destination), (source, destination))
                self.assertEqual((packet.protocol, packet.ttl), (protocol, 9))
                moved = attrs.evolve(packet, source=MAPPED[index], ttl=8)
                again = read(onWire(moved))
                self.assertEqual((again.source, again.ttl), (MAPPED[index], 8))
                self.assertTrue(isRight(onWire(packet)) and isRight(onWire(moved)))

    def test_echoes(self) -> None:
        """
        Echoes are read with their identifiers as ports, and written with others.
        """
        for index in range(2):
            for isReply in (False, True):
                fresh = echo(index, isReply=isReply)
                packet = read(onWire(fresh))
                self.assertEqual(
                    (packet.source, packet.destination), (fresh.source, fresh.destination)
                )
                self.assertEqual(readEcho(packet.payload), fresh.payload)
                end = "destination" if isReply else "source"
                moved = attrs.evolve(packet, **{end: MAPPED[index]})  # type: ignore[arg-type]
                again = read(onWire(moved))
                self.assertEqual(getattr(again, end), MAPPED[index])
                self.assertTrue(isRight(onWire(packet)) and isRight(onWire(moved)))

    def test_errors(self) -> None:
        """
        ICMP errors have the numbers of their IP version, and the model's when read.
        """
        for index, kinds in enumerate((((3, 3), (3, 4)), ((1, 4), (2, 0)))):
            for code, kind in zip(
                (UnreachableCode.PORT, UnreachableCode.TOO_BIG), kinds, strict=True
            ):
                error = ICMPError(3, code, datagram(index), 1400)
                destination = TransportAddress(ENDS[index][0].host, 0)
                packet = Packet(Protocol.ICMP, ROUTERS[index], destination, icmp=error)
                data = onWire(packet)
                at = 40 if index else 20
                self.assertEqual(tuple(data[at : at + 2]), kind)
                self.assertTrue(isRight(data))
                back = read(data)
                assert back.icmp is not None
                self.assertEqual((back.icmp.type, back.icmp.code), (3, code))
                self.assertEqual(back.icmp.mtu, 1400)
                self.assertEqual(back.icmp.original.source, ENDS[index][0])
                # Read and written again it is the same.
                self.assertEqual(onWire(back), data)

    @given(st.sampled_from((4, 6)), st.binary(max_size=90))
    def test_garbage(self, version: int, garbage: bytes) -> None:
        """
        No bytes make the codec raise.
        """
        data = bytes((version << 4 | 5,)) + garbage
        packet = decodeIP(data)
        if isinstance(packet, Packet):
            encodeIP(packet)
            tooBigFor(packet, 1280, ROUTERS[version == 6])

    def test_otherMessages(self) -> None:
        """
        Neighbour discovery and other headers are for nobody here.
        """
        data = bytearray(onWire(echo(1)))
        data[40] = 135
        self.assertIs(decodeIP(bytes(data)), Ignored.OTHER_PROTOCOL)
        data[6] = 0
        self.assertIs(decodeIP(bytes(data)), Ignored.OTHER_PROTOCOL)


class FragmentTests(SynchronousTestCase):
    """
    Cutting and joining.
    """

    @given(
        st.integers(0, 1),
        st.integers(0, 9000),
        st.integers(1280, 2000),
        st.randoms(use_true_random=False),
    )
    def test_joined(self, index: int, size: int, limit: int, random: object) -> None:
        """
        Fragments in any order are the packet that they were cut from, byte for byte.
        """
        packet = datagram(index, bytes(range(256)) * (size // 256) + bytes(size % 256))
        pieces = divided(packet, limit, 7)
        self.assertTrue(all(ipLength(piece) <= limit for piece in pieces))
        self.assertEqual({carriedProtocol(piece) for piece in pieces}, {Protocol.UDP})
        if len(pieces) == 1:
            return
        random.shuffle(pieces)  # type: ignore[attr-defined]
        reassembly = Reassembly()
        *before, whole = [reassembly.add(read(onWire(piece)), 0.0) for piece in pieces]
        self.assertEqual(set(before), {None})
        assert whole is not None
        self.assertEqual((whole.source, whole.destination), ENDS[index])
        self.assertEqual(whole.payload.content, packet.payload.content)
        self.assertTrue(isRight(onWire(whole)))
        self.assertEqual(whole.payload.largestFragment, max(map(ipLength, pieces)))

    def test_twice(self) -> None:
        """
        A router cuts fragments of IPv4 once more, and those of IPv6 not.
        """
        for index in range(2):
            reassembly = Reassembly()
            whole = None
            for piece in divided(datagram(index, bytes(3000)), 1500, 7):
                limit = fragmentLimit(piece, 1280)
                self.assertEqual(limit, 1280 if index == 0 else 0)
                for smaller in divided(piece, limit, 8) if limit else [piece]:
                    whole = reassembly.add(smaller, 0.0)
            assert whole is not None
            self.assertEqual(len(whole.payload.content), 3000)
            # Never longer than they came; if those are too long, the source has to be told.
            longest = whole.payload.largestFragment
            self.assertEqual(fragmentLimit(whole, 1600), longest)
            self.assertEqual(fragmentLimit(whole, longest - 8), longest - 8 if index == 0 else 0)

    def test_unfinishedChecksum(self) -> None:
        """
        A checksum that the kernel would have completed is completed before the cut.
        """
        packet = datagram(0, b"x" * 2000)
        data = bytearray(packet.payload.data)
        pseudo = data[12:20] + bytes((0, 17)) + data[24:26]
        data[26:28] = bytes(0xFF - octet for octet in checksum(pseudo))
        raw = RawSegment(bytes(data), bytes((NEEDS_CHECKSUM,)) + bytes(9))
        reassembly = Reassembly()
        pieces = divided(attrs.evolve(packet, payload=raw), 1500, 7)
        *_, whole = [reassembly.add(piece, 0.0) for piece in pieces]
        assert whole is not None
        self.assertTrue(isRight(onWire(whole)))

    def test_lengths(self) -> None:
        """
        The length of a packet is that on a wire, and of an uncut run that of one segment.
        """
        for index, header in enumerate((20, 40)):
            self.assertEqual(ipLength(datagram(index)), header + 8 + 5)
            self.assertEqual(ipLength(echo(index)), header + 8 + 5)
            fresh = Packet(Protocol.TCP, *ENDS[index], payload=bytes(9000))
            self.assertEqual(ipLength(fresh), header + 20 + 9000)
            run = read(onWire(fresh))
            offload = bytes((0, 1, 0, 0)) + (1000).to_bytes(2, "little") + bytes(4)
            raw = attrs.evolve(run.payload, offload=offload)
            self.assertEqual(ipLength(attrs.evolve(run, payload=raw)), header + 20 + 1000)

    def test_tooBig(self) -> None:
        """
        A router complains of packets and of first fragments, never of complaints.
        """
        for index in range(2):
            complaint = tooBigFor(datagram(index), 1280, ROUTERS[index])
            assert complaint is not None
            self.assertIsNone(tooBigFor(complaint, 1280, ROUTERS[index]))
            first, *_, last = divided(datagram(index, bytes(3000)), 1500, 7)
            self.assertIsNone(tooBigFor(last, 1280, ROUTERS[index]))
            complaint = tooBigFor(first, 1280, ROUTERS[index])
            assert complaint is not None
            back = read(onWire(complaint))
            assert back.icmp is not None
            self.assertEqual(back.icmp.original.source, ENDS[index][0])
            self.assertEqual(back.icmp.original.destination, ENDS[index][1])


class ReassemblyTests(SynchronousTestCase):
    """
    Waiting for fragments.
    """

    def test_bounded(self) -> None:
        """
        What never becomes whole is forgotten: after half a minute, or when there is too much of it.
        """
        pieces = [divided(datagram(1, bytes(3000)), 1500, number) for number in range(100)]
        reassembly = Reassembly()
        for first, *_ in pieces:
            self.assertIsNone(reassembly.add(first, 0.0))
        kept = [
            all(reassembly.add(piece, 1.0) is None for piece in rest[:-1])
            and reassembly.add(rest[-1], 1.0) is not None
            for _, *rest in pieces[-10:]
        ]
        self.assertEqual(kept, [True] * 10)
        _, *rest = pieces[0]
        self.assertEqual({reassembly.add(piece, 1.0) for piece in rest}, {None})
        first, *rest = pieces[1]
        reassembly.add(first, 2.0)
        self.assertEqual({reassembly.add(piece, 33.0) for piece in rest}, {None})

    def test_overlaps(self) -> None:
        """
        Fragments that overlap make no packet (RFC 5722).
        """
        reassembly = Reassembly()
        first, second, third = divided(datagram(0, bytes(3000)), 1500, 7)
        shifted = attrs.evolve(second.payload, offset=second.payload.offset - 8)
        for piece in (first, attrs.evolve(second, payload=shifted), third):
            self.assertIsNone(reassembly.add(piece, 0.0))
