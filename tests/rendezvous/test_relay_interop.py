"""
The relay and other makers' programs: coturn's and aioice's clients at our relay, and our client at
coturn. Without coturn these tests fail: what they promise is unproven then.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from holepunch.address import TransportAddress
from holepunch.errors import RelayFailed
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.turn import Allocated, AllocationFailed, EphemeralCredential, PermissionRefused
from tests.rendezvous import aioiceclient
from tests.rendezvous.network import SERVICE
from tests.rendezvous.relayclient import Client
from tests.rendezvous.test_relay import HOST, SECRET, Lost, RelayTestCase
from tests.rendezvous.test_service import asynchronous
from tests.stun.coturn import Program
from tests.test_tls import certificateFor

reactor: Any = _reactor
REALM = "example.org"
PATIENCE = 10.0


class CoturnClientTests(RelayTestCase):
    """
    C{turnutils_uclient} at our relay. It makes pairs of clients that talk to each other.
    """

    timeout = 60.0

    async def uclient(self, kind: str, *options: str) -> None:
        """
        Run coturn's client: all that is sent must arrive.
        """
        self.start(tlsPorts=[0], tls=RelayTLS(SERVICE))
        arguments = ["-p", str(self.server(kind).port), "-W", SECRET.decode(), "-u", "alice"]
        arguments += ["-c", "-n", "5", "-m", "2", "-z", "5", *options, HOST]
        running: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            "/usr/bin/turnutils_uclient", arguments, env=dict(os.environ)
        )
        out, err, _ = await running
        said = (out + err).decode("utf-8", "replace")
        counts = re.findall(r"start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
        self.assertEqual(counts, [("10", "10")], said[-3000:])

    @asynchronous
    async def test_channels(self) -> None:
        """
        Over UDP, by channels.
        """
        await self.uclient("udp", "-y")

    @asynchronous
    async def test_indications(self) -> None:
        """
        Over UDP, by indications.
        """
        await self.uclient("udp", "-y", "-s")

    @asynchronous
    async def test_wholePackets(self) -> None:
        """
        With DONT-FRAGMENT, and requests again and again.
        """
        await self.uclient("udp", "-y", "-g", "-G")

    @asynchronous
    async def test_tcp(self) -> None:
        """
        Over TCP.
        """
        await self.uclient("tcp", "-y", "-t")

    @asynchronous
    async def test_tls(self) -> None:
        """
        Over TLS.
        """
        await self.uclient("tls", "-y", "-t", "-S")

    @asynchronous
    async def test_streams(self) -> None:
        """
        Connections through the relay (RFC 6062).
        """
        await self.uclient("tcp", "-T")

    @asynchronous
    async def test_negative(self) -> None:
        """
        With the wrong requests of coturn's negative tests among the right ones.
        """
        await self.uclient("udp", "-y", "-N")


class AioiceTests(RelayTestCase):
    """
    Aioice's TURN client at our relay.
    """

    async def relayed(self, transport: str) -> None:
        """
        Run the program.
        """
        self.start()
        credential = self.credential()
        running: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            sys.executable,
            [
                str(Path(aioiceclient.__file__)),
                str(self.server("tcp").port),
                credential.username,
                credential.password,
                transport,
            ],
            env=dict(os.environ),
        )
        out, err, status = await running
        self.assertEqual((out.strip(), status), (b"ok", 0), err.decode()[-2000:])

    @asynchronous
    async def test_udp(self) -> None:
        """
        Over UDP.
        """
        await self.relayed("udp")

    @asynchronous
    async def test_tcp(self) -> None:
        """
        Over TCP on one side.
        """
        await self.relayed("tcp")


class CoturnServerTests(RelayTestCase):
    """
    Our client at C{turnserver}.
    """

    timeout = 60.0

    async def coturn(self, *options: str) -> None:
        """
        Start coturn, and wait until it answers.
        """
        probes = [reactor.listenUDP(0, DatagramProtocol(), HOST) for _ in range(2)]
        self.port, self.tlsPort = (probe.getHost().port for probe in probes)
        for probe in probes:
            await probe.stopListening()
        directory = Path(self.mktemp())
        _, certificate = certificateFor([], directory)
        program = Program.start(
            reactor,
            "turnserver",
            *f"-n -L {HOST} -E {HOST} -p {self.port} --tls-listening-port {self.tlsPort}".split(),
            *f"-r {REALM} --no-cli --log-file=stdout --allow-loopback-peers".split(),
            *f"--use-auth-secret --static-auth-secret={SECRET.decode()}".split(),
            *f"--cert {certificate} --pkey {certificate} --pidfile {directory}/pid".split(),
            *options,
        )
        self.addCleanup(program.stop)
        until = reactor.seconds() + PATIENCE
        for port in (self.port, self.tlsPort):
            while not await self.isOpen(port):
                self.assertLess(reactor.seconds(), until, program.output)
                await deferLater(reactor, 0.05, lambda: None)

    async def isOpen(self, port: int) -> bool:
        """
        Does somebody listen there?
        """
        lost = Lost()
        try:
            await connectProtocol(TCP4ClientEndpoint(reactor, HOST, port), lost)
        except ConnectionRefusedError:
            return False
        lost.transport.loseConnection()
        await lost.lost
        return True

    def server(self, kind: str = "udp") -> TransportAddress:
        """
        Where coturn is.
        """
        return TransportAddress(HOST, self.tlsPort if kind == "tls" else self.port)

    @asynchronous
    async def test_everyTransport(self) -> None:
        """
        Data goes to and fro between two of our clients, over UDP, TCP and TLS, by indications and
        channels.
        """
        await self.coturn()
        for kind in ("udp", "tcp", "tls"):
            one = await self.client("alice", kind)
            await self.exchange(one, await self.client("bob"))
            await one.close()

    @asynchronous
    async def test_staleNonce(self) -> None:
        """
        A nonce that coturn does not know costs no more than another round trip.
        """
        await self.coturn()
        client = await self.client(realm=REALM, nonce=b"of another life")
        self.assertIsInstance(client.told[0], Allocated)

    @asynchronous
    async def test_expiredNonce(self) -> None:
        """
        Nonces that expire again and again are no end of an allocation.
        """
        await self.coturn("--stale-nonce=1")
        client = await self.client()
        for number in range(3):
            await deferLater(reactor, 1.1, lambda: None)
            await client.permit(f"127.0.1.{number}")
        self.assertFalse([each for each in client.told if isinstance(each, PermissionRefused)])

    @asynchronous
    async def test_wrongSecret(self) -> None:
        """
        A credential that coturn refuses is told of.
        """
        await self.coturn()
        wrong = EphemeralCredential(self.credential().username, "wrong")
        client = await Client.connect(reactor, self.server(), wrong, mayFail=True)
        self.addCleanup(client.close)
        (failed,) = client.told
        assert isinstance(failed, AllocationFailed)
        self.assertIsInstance(failed.reason, RelayFailed)

    @asynchronous
    async def test_refusedPeer(self) -> None:
        """
        A peer that coturn refuses is told of, and the others go on.
        """
        await self.coturn("--denied-peer-ip=127.0.0.9")
        client = await self.client()
        await client.permit("127.0.0.9")
        self.assertIsInstance(client.told[-1], PermissionRefused)
        await self.exchange(client, await self.client("bob"))
