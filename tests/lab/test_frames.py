"""
Tests for L{holepunch.lab.frames}.
"""

from __future__ import annotations

import struct

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.lab.frames import (
    NO_OFFLOAD,
    OFFLOAD_LENGTH,
    Ignored,
    RawSegment,
    decodeFrame,
    encodeFrame,
)
from holepunch.nat import ICMPError, Packet, Protocol, TCPFlag

ALICE = TransportAddress("192.168.1.10", 4000)
MAPPED = TransportAddress("31.1.0.1", 61000)
SERVER = TransportAddress("5.1.0.1", 3478)

addresses = st.builds(
    TransportAddress,
    st.integers(0x01000000, 0xDFFFFFFF).map(lambda n: ".".join(map(str, n.to_bytes(4, "big")))),
    st.integers(0, 65535),
)


def wordSum(data: bytes) -> int:
    """
    The ones' complement sum of RFC 1071, written as the RFC has it: 0xFFFF means a right checksum.
    """
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def written(packet: Packet) -> bytes:
    """
    The whole frame of a packet, with its offload header.
    """
    return b"".join(encodeFrame(packet))


def readBack(frame: bytes) -> Packet:
    """
    Decode a frame that must be a packet.
    """
    packet = decodeFrame(frame)
    assert isinstance(packet, Packet), packet
    return packet


def ipPacket(frame: bytes) -> bytes:
    """
    The IP packet in a frame that has an offload header.
    """
    return frame[OFFLOAD_LENGTH + 14 :]


def transportSum(data: bytes) -> int:
    """
    The sum over the pseudo header and the segment of an IP packet without options.
    """
    return wordSum(
        data[12:20] + bytes((0, data[9])) + struct.pack("!H", len(data) - 20) + data[20:]
    )


def udp(source: TransportAddress = ALICE, content: bytes = b"hello") -> Packet:
    """
    A datagram that came as a frame.
    """
    return readBack(written(Packet(Protocol.UDP, source, SERVER, payload=content)))


def syn(source: TransportAddress = ALICE) -> Packet:
    """
    A SYN that came as a frame.
    """
    fresh = Packet(Protocol.TCP, source, SERVER, flags=TCPFlag.SYN, sequence=7, acknowledgment=9)
    return readBack(written(fresh))


class DecodeTests(SynchronousTestCase):
    """
    Frames as packets.
    """

    def test_udp(self) -> None:
        """
        A datagram's addresses, ports and TTL are found.
        """
        packet = readBack(written(Packet(Protocol.UDP, ALICE, SERVER, payload=b"hello", ttl=9)))
        self.assertEqual(
            (packet.protocol, packet.source, packet.destination, packet.ttl),
            (Protocol.UDP, ALICE, SERVER, 9),
        )

    def test_tcp(self) -> None:
        """
        A segment's control bits and numbers are found.
        """
        packet = syn()
        self.assertEqual(
            (packet.flags, packet.sequence, packet.acknowledgment), (TCPFlag.SYN, 7, 9)
        )

    def test_icmpError(self) -> None:
        """
        An ICMP error brings the packet that it quotes, cut short as it may be.
        """
        error = ICMPError(type=3, code=3, original=syn())
        frame = written(Packet(Protocol.ICMP, SERVER, ALICE, icmp=error))
        for length in (len(frame), OFFLOAD_LENGTH + 14 + 20 + 8 + 28):
            icmp = readBack(frame[:length]).icmp
            assert icmp is not None
            self.assertEqual((icmp.type, icmp.code), (3, 3))
            self.assertEqual(
                (icmp.original.source, icmp.original.destination, icmp.original.sequence),
                (ALICE, SERVER, 7),
            )

    def test_ignored(self) -> None:
        """
        What is not for the lab is named, not raised.
        """
        frame = bytearray(written(udp()))
        ip = OFFLOAD_LENGTH + 14

        def changed(at: int, *octets: int) -> Packet | Ignored:
            other = bytearray(frame)
            other[at : at + len(octets)] = bytes(octets)
            return decodeFrame(bytes(other))

        self.assertIs(changed(ip - 2, 0x86, 0xDD), Ignored.MALFORMED)
        self.assertIs(changed(ip - 2, 0x08, 0x06), Ignored.NOT_IP)
        self.assertIs(changed(ip + 9, 132), Ignored.OTHER_PROTOCOL)
        self.assertIs(changed(ip, 0x44), Ignored.MALFORMED)

    @given(st.binary(max_size=120))
    def test_garbage(self, garbage: bytes) -> None:
        """
        No bytes after the Ethernet header make the codec raise.
        """
        frame = NO_OFFLOAD + bytes(12) + b"\x08\x00" + garbage
        packet = decodeFrame(frame)
        if isinstance(packet, Packet):
            encodeFrame(packet)


class EncodeTests(SynchronousTestCase):
    """
    Packets as frames.
    """

    def test_untouched(self) -> None:
        """
        A frame whose packet nobody changed is written as it came.
        """
        for packet in (udp(), syn()):
            frame = written(packet)
            self.assertEqual(written(readBack(frame)), frame)

    @given(addresses, addresses, st.binary(max_size=40), st.integers(1, 255))
    def test_finishedChecksum(
        self, source: TransportAddress, destination: TransportAddress, content: bytes, ttl: int
    ) -> None:
        """
        A right checksum is right again after the packet got other addresses and ports.
        """
        for packet in (udp(content=content), syn()):
            data = ipPacket(
                written(attrs.evolve(packet, source=source, destination=destination, ttl=ttl))
            )
            self.assertEqual(wordSum(data[:20]), 0xFFFF)
            self.assertEqual(transportSum(data), 0xFFFF)
            again = readBack(NO_OFFLOAD + bytes(12) + b"\x08\x00" + data)
            self.assertEqual(
                (again.source, again.destination, again.ttl), (source, destination, ttl)
            )

    @given(addresses, addresses)
    def test_unfinishedChecksum(
        self, source: TransportAddress, destination: TransportAddress
    ) -> None:
        """
        An unfinished checksum becomes the sum of the new pseudo header, as the kernel wants it.
        """
        for packet, at in ((udp(), 6), (syn(), 16)):
            data = bytearray(packet.payload.data)
            length = len(data) - 20
            pseudo = bytes(data[12:20]) + struct.pack("!HH", data[9], length)
            data[20 + at : 22 + at] = wordSum(pseudo).to_bytes(2, "big")
            offload = struct.pack("=BBHHHH", 1, 0, 0, 0, 34, at)
            raw = RawSegment(bytes(data), offload)
            frame = written(
                attrs.evolve(packet, source=source, destination=destination, payload=raw)
            )
            self.assertEqual(frame[:OFFLOAD_LENGTH], offload)
            new = ipPacket(frame)
            expected = wordSum(new[12:20] + struct.pack("!HH", new[9], length))
            self.assertEqual(
                int.from_bytes(new[20 + at : 22 + at], "big") % 0xFFFF, expected % 0xFFFF
            )

    def test_noChecksum(self) -> None:
        """
        A datagram that was sent without a checksum stays without one.
        """
        data = bytearray(udp().payload.data)
        data[26:28] = b"\0\0"
        packet = attrs.evolve(udp(), source=MAPPED, payload=RawSegment(bytes(data)))
        self.assertEqual(ipPacket(written(packet))[26:28], b"\0\0")

    def test_reset(self) -> None:
        """
        A RST that the model NAT made becomes a whole segment with a right checksum.
        """
        reset = Packet(
            Protocol.TCP,
            SERVER,
            ALICE,
            flags=TCPFlag.RST | TCPFlag.ACK,
            sequence=1,
            acknowledgment=8,
        )
        data = ipPacket(written(reset))
        self.assertEqual(len(data), 40)
        self.assertEqual(data[33], 0x14)
        self.assertEqual(transportSum(data), 0xFFFF)

    def test_translatedError(self) -> None:
        """
        An ICMP error quotes the packet with the addresses that the NAT put back.
        """
        received = readBack(
            written(
                Packet(
                    Protocol.ICMP,
                    SERVER,
                    MAPPED,
                    icmp=ICMPError(type=3, code=4, original=udp(MAPPED)),
                )
            )
        )
        assert received.icmp is not None
        original = attrs.evolve(received.icmp.original, source=ALICE)
        data = ipPacket(
            written(
                attrs.evolve(
                    received,
                    destination=TransportAddress(ALICE.host, 0),
                    icmp=attrs.evolve(received.icmp, original=original),
                )
            )
        )
        self.assertEqual(wordSum(data[20:]), 0xFFFF)
        self.assertEqual(data[28:], udp(ALICE).payload.data)
        self.assertEqual(transportSum(data[28:]), 0xFFFF)

    def test_errorKeepsMTU(self) -> None:
        """
        The size that a "fragmentation needed" names is passed on.
        """
        data = bytearray(
            ipPacket(
                written(
                    Packet(
                        Protocol.ICMP,
                        SERVER,
                        ALICE,
                        icmp=ICMPError(type=3, code=4, original=udp()),
                    )
                )
            )
        )
        data[26:28] = struct.pack("!H", 1400)
        packet = readBack(NO_OFFLOAD + bytes(12) + b"\x08\x00" + bytes(data))
        self.assertEqual(ipPacket(written(packet))[26:28], struct.pack("!H", 1400))

    def test_noOffloadHeader(self) -> None:
        """
        On a wire without offload, frames are read and written without its header.
        """
        frame = b"".join(encodeFrame(udp(), hasOffload=False))
        self.assertEqual(frame, written(udp())[OFFLOAD_LENGTH:])
        packet = decodeFrame(frame, hasOffload=False)
        assert isinstance(packet, Packet)
        self.assertEqual(packet.source, ALICE)
