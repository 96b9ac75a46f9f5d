"""
Tests for L{holepunch.tls}.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, load_certificate
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from holepunch.errors import BadAddress, BadIdentity, WrongPeer
from holepunch.identity import Identity
from holepunch.tls import (
    CertifiedTLS,
    IdentityTLS,
    IdentityTLSFactory,
    NamedServiceTLS,
    peerIDOf,
)

ALICE = Identity.generate()
BOB = Identity.generate()


@implementer(IHandshakeListener)
class End(Protocol):
    """
    One end of a connection.
    """

    def __init__(self) -> None:
        self.received = b""
        self.isSecured = False
        self.lost: list[Failure] = []

    def handshakeCompleted(self) -> None:
        self.isSecured = True

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


def certificateFor(
    names: list[x509.GeneralName], directory: Path, isExpired: bool = False
) -> tuple[Path, Path]:
    """
    Make an authority, and a certificate that it signed.

    @return: The authority's certificate; a file with the other certificate and its key.
    """
    key, authorityKey = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    until = now - day if isExpired else now + day

    def build(subject: str, public: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * day)
            .not_valid_after(until)
        )
        for extension, isCritical in extensions:
            builder = builder.add_extension(extension, isCritical)
        return builder.sign(authorityKey, hashes.SHA256())

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(authorityKey.public_key())
    authority = build(
        "authority",
        authorityKey.public_key(),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage, True),
        (identifier, False),
    )
    certificate = build(
        "service",
        key.public_key(),
        (x509.SubjectAlternativeName(names), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    )
    directory.mkdir()
    trusted, combined = directory / "authority.pem", directory / "service.pem"
    trusted.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    combined.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return trusted, combined


def trust(test: SynchronousTestCase, authority: Path) -> None:
    """
    Let this machine's OpenSSL trust an authority, for one test.
    """
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority)
    if before is None:
        test.addCleanup(os.environ.pop, "SSL_CERT_FILE")
    else:
        test.addCleanup(os.environ.__setitem__, "SSL_CERT_FILE", before)


class TLSTestCase(SynchronousTestCase):
    """
    Connects two ends in memory.
    """

    def connect(self, client: IdentityTLS, server: IdentityTLS) -> tuple[End, End, IOPump]:
        self.clock = Clock()
        ends = End(), End()
        wrapped = []
        for end, tls, isClient in ((ends[0], client, True), (ends[1], server, False)):
            inner = Factory.forProtocol(lambda end=end: end)  # type: ignore[misc]
            factory = IdentityTLSFactory(self.clock, tls, isClient, inner)
            wrapped.append(factory.buildProtocol(None))
        clientSide, serverSide = wrapped
        pump = connect(
            serverSide,
            FakeTransport(serverSide, isServer=True),
            clientSide,
            FakeTransport(clientSide, isServer=False),
        )
        for _ in range(10):
            self.clock.advance(0.1)
            pump.flush()
        return ends[0], ends[1], pump


class IdentityTests(TLSTestCase):
    """
    L{IdentityTLS}.
    """

    def test_bothProve(self) -> None:
        """
        Each side learns the other's peer ID, and data flows both ways, by TLS 1.3.
        """
        client, server, pump = self.connect(
            IdentityTLS(ALICE, BOB.peerID), IdentityTLS(BOB, ALICE.peerID)
        )
        transport: Any = client.transport
        self.assertEqual(transport.getHandle().get_protocol_version_name(), "TLSv1.3")
        self.assertEqual(peerIDOf(client.transport), BOB.peerID)
        self.assertEqual(peerIDOf(server.transport), ALICE.peerID)
        client.transport.write(b"to bob")  # type: ignore[union-attr]
        server.transport.write(b"to alice")  # type: ignore[union-attr]
        self.clock.advance(0.1)
        pump.flush()
        self.assertEqual((client.received, server.received), (b"to alice", b"to bob"))

    def test_anybody(self) -> None:
        """
        Where nobody in particular is expected, every identity is believed.
        """
        _, server, _ = self.connect(IdentityTLS(ALICE), IdentityTLS(BOB))
        self.assertTrue(server.isSecured)

    def test_wrongServer(self) -> None:
        """
        A client that finds another peer than expected says so, and both connections end.
        """
        client, server, _ = self.connect(IdentityTLS(ALICE, ALICE.peerID), IdentityTLS(BOB))
        self.assertFalse(client.isSecured)
        client.lost[0].trap(WrongPeer)
        self.assertIn(BOB.peerID.text, client.lost[0].getErrorMessage())
        server.lost[0].trap(SSL.Error)

    def test_wrongClient(self) -> None:
        """
        A server that finds another peer than expected says so, and the client hears it by an alert.
        """
        client, server, _ = self.connect(IdentityTLS(ALICE), IdentityTLS(BOB, BOB.peerID))
        self.assertFalse(server.isSecured)
        server.lost[0].trap(WrongPeer)
        client.lost[0].trap(SSL.Error)

    def test_noIdentity(self) -> None:
        """
        A client without a certificate does not get in.
        """

        class Nobody(IdentityTLS):
            def _useCertificate(self, context: SSL.Context, identity: Identity) -> None:
                pass

        _, server, _ = self.connect(Nobody(ALICE), IdentityTLS(BOB))
        self.assertFalse(server.isSecured)
        self.assertEqual(len(server.lost), 1)

    def test_absurdCertificate(self) -> None:
        """
        A certificate that cannot even be read is refused like a wrong one, on either side.
        """
        der = ALICE.certificate().public_bytes(serialization.Encoding.DER)
        version3, version4 = bytes.fromhex("a003020102"), bytes.fromhex("a003020103")
        absurd = load_certificate(FILETYPE_ASN1, der.replace(version3, version4))

        class Absurd(IdentityTLS):
            def _useCertificate(self, context: SSL.Context, identity: Identity) -> None:
                context.use_certificate(absurd)
                context.use_privatekey(identity.privateKey)

        for believer in (IdentityTLS(BOB), NamedServiceTLS(BOB, "service.example")):
            _, server, _ = self.connect(Absurd(ALICE), believer)
            server.lost[0].trap(WrongPeer)
            client, _, _ = self.connect(believer, Absurd(ALICE))
            client.lost[0].trap(WrongPeer)

    def test_olderTLS(self) -> None:
        """
        TLS 1.2 is not spoken.
        """

        class Old(IdentityTLS):
            def _makeContext(self, identity: Identity) -> SSL.Context:
                context = super()._makeContext(identity)
                context.set_min_proto_version(SSL.TLS1_2_VERSION)
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
                return context

        client, server, _ = self.connect(Old(ALICE), IdentityTLS(BOB))
        self.assertFalse(client.isSecured or server.isSecured)

    def test_lean(self) -> None:
        """
        Ends that save memory agree on a key by an elliptic curve alone, and with others as well.
        """
        lean = IdentityTLS(BOB, isLean=True)
        for client in (IdentityTLS(ALICE, isLean=True), IdentityTLS(ALICE)):
            end, _, _ = self.connect(client, lean)
            transport: Any = end.transport
            self.assertEqual(transport.getHandle().get_group_name(), "secp256r1")

    def test_refusedProtocol(self) -> None:
        """
        A factory that builds no protocol refuses the connection under TLS, too.
        """

        class Refusing(Factory):
            def buildProtocol(self, addr: Any) -> None:
                return None

        factory = IdentityTLSFactory(Clock(), IdentityTLS(BOB), False, Refusing())
        self.assertIsNone(factory.buildProtocol(None))


class CertificateTests(TLSTestCase):
    """
    L{CertifiedTLS} and L{NamedServiceTLS}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        names: list[x509.GeneralName] = [
            x509.DNSName("rendezvous.example"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        ]
        self.names = names

    def certified(self, isExpired: bool = False) -> Path:
        trusted, combined = certificateFor(self.names, self.directory, isExpired)
        trust(self, trusted)
        return combined

    def test_believed(self) -> None:
        """
        A certificate that an authority signed for the name or address is believed; it proves no
        peer ID, while the client does.
        """
        server = CertifiedTLS(self.certified())
        for host in ("rendezvous.example", "192.0.2.1"):
            client, service, _ = self.connect(NamedServiceTLS(ALICE, host), server)
            self.assertTrue(client.isSecured)
            self.assertIsNone(peerIDOf(client.transport))
            self.assertEqual(peerIDOf(service.transport), ALICE.peerID)

    def assertDisbelieved(self, host: str, server: CertifiedTLS) -> None:
        client, _, _ = self.connect(NamedServiceTLS(ALICE, host), server)
        self.assertFalse(client.isSecured)
        client.lost[0].trap(WrongPeer)

    def test_otherName(self) -> None:
        """
        A certificate for another name or address is not believed.
        """
        server = CertifiedTLS(self.certified())
        for host in ("other.example", "192.0.2.2", "2001:db8::1"):
            self.assertDisbelieved(host, server)

    def test_unknownAuthority(self) -> None:
        """
        A certificate that no known authority signed is not believed.
        """
        _, combined = certificateFor(self.names, self.directory)
        self.assertDisbelieved("rendezvous.example", CertifiedTLS(combined))

    def test_expired(self) -> None:
        """
        A certificate whose time is up is not believed.
        """
        self.assertDisbelieved("rendezvous.example", CertifiedTLS(self.certified(isExpired=True)))

    def test_identity(self) -> None:
        """
        An identity is believed without any authority, and whatever the host name.
        """
        client, _, _ = self.connect(NamedServiceTLS(ALICE, "any.example"), IdentityTLS(BOB))
        self.assertEqual(peerIDOf(client.transport), BOB.peerID)

    def test_pinned(self) -> None:
        """
        Who expects an identity does not believe an ordinary certificate instead.
        """
        server = CertifiedTLS(self.certified())
        client, _, _ = self.connect(IdentityTLS(ALICE, BOB.peerID), server)
        client.lost[0].trap(WrongPeer)

    def test_files(self) -> None:
        """
        Files that cannot be used are told by name.
        """
        _, combined = certificateFor(self.names, self.directory)
        _, other = certificateFor(self.names, self.directory / "other")
        empty = self.directory / "empty.pem"
        empty.touch()
        for certificate, key in (
            (self.directory / "none.pem", None),
            (empty, None),
            (combined, other),
            (combined, empty),
            (combined, self.directory),
        ):
            error = self.assertRaises(BadIdentity, CertifiedTLS, certificate, key)
            self.assertIn(str(key or certificate), str(error))

    def test_badName(self) -> None:
        """
        A host name that cannot be one is refused.
        """
        for host in ("a" * 300, "two words", "\0", ".."):
            self.assertRaises(BadAddress, NamedServiceTLS, ALICE, host)
