"""
TLS 1.3 between identities: each end proves its Ed25519 key in a self-signed certificate.

Owns: the OpenSSL contexts, which certificates are believed, and which peer ID a connection proved.
Knows nothing of: what is said over the connection.
Driven by: L{holepunch.rendezvous} for the main connection, L{holepunch.peer} for punched TCP paths.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, BadIdentity, BadPeerID, WrongPeer
from holepunch.identity import Identity, PeerID


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class IdentityTLS:
    """
    Makes TLS connections that prove one identity, and demand the proof of another one.

    @param identity: What this side proves.
    @param expected: The one peer that is believed; C{None} believes whoever proves some Ed25519
        key, and L{peerIDOf} tells which.
    @param protocols: What the connection may be used for (ALPN, RFC 7301): the client offers them,
        the server takes the first one offered that it has, and breaks off when there is none.
    @param isLean: Keys are agreed on by one elliptic curve (P-256), which both ends should be told.
        OpenSSL's own choice is a hybrid with ML-KEM, whose keys it holds for as long as the
        connection lasts: 6 KiB, which counts where thousands of connections are idle.
    """

    def __init__(
        self,
        identity: Identity,
        expected: PeerID | None = None,
        protocols: Sequence[bytes] = (),
        isLean: bool = False,
    ) -> None:
        self._expected = expected
        self._context = self._makeContext(identity)
        if isLean:
            self._context.set_tmp_ecdh(ec.SECP256R1())
        if protocols:
            self._context.set_alpn_protos(list(protocols))
            self._context.set_alpn_select_callback(
                lambda connection, offered: next(
                    (each for each in offered if each in protocols), SSL.NO_OVERLAPPING_PROTOCOLS
                )
            )

    def newConnection(self, isClient: bool) -> SSL.Connection:
        """
        Make the OpenSSL side of one connection, without a socket.

        Its application data must have a C{failVerification} method, as Twisted's TLS transport has.
        """
        connection = SSL.Connection(self._context, None)
        if isClient:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        return connection

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        Make the OpenSSL side of one connection.
        """
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS

    def _makeContext(self, identity: Identity) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        # An idle connection gives its read and write buffers back (docs/performance.md, memory).
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        self._useCertificate(context, identity)
        return context

    def _useCertificate(self, context: SSL.Context, identity: Identity) -> None:
        context.use_certificate(identity.certificate())
        context.use_privatekey(identity.privateKey)

    def _verify(
        self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int
    ) -> bool:
        # An exception of this callback would come out of the handshake, where nobody expects it;
        # hence the reason goes to the protocol.
        try:
            try:
                self._check(certificate, depth, bool(ok))
            except WrongPeer:
                raise
            except Exception as error:
                # Whoever is there made the certificate, and parsers fail in many ways.
                raise WrongPeer(f"the other side's certificate cannot be read: {error}") from None
        except WrongPeer:
            protocol = cast(TLSMemoryBIOProtocol, connection.get_app_data())
            protocol.failVerification(Failure())
            return False
        return True

    def _check(self, certificate: X509, depth: int, isValid: bool) -> None:
        """
        Is a certificate of the chain to be believed? Of an identity, only the key counts.

        @param depth: 0 for the other side's own certificate.
        @param isValid: Has OpenSSL found no fault?
        @raise WrongPeer: No.
        """
        if depth == 0:
            peerID = _peerIDIn(certificate)
            if self._expected is not None and peerID != self._expected:
                raise WrongPeer(f"the other side is {peerID}, and not {self._expected}")


@implementer(IOpenSSLServerConnectionCreator)
class CertifiedTLS(IdentityTLS):
    """
    Like L{IdentityTLS} for a server that shows an ordinary certificate instead of its identity.

    @param certificate: A PEM file: the certificate, then its chain.
    @param privateKey: A PEM file; the same one if it holds both.
    @raise BadIdentity: The files cannot be used.
    """

    def __init__(
        self,
        certificate: str | os.PathLike[str],
        privateKey: str | os.PathLike[str] | None = None,
    ) -> None:
        self._certificate = certificate
        self._privateKey = certificate if privateKey is None else privateKey
        super().__init__(Identity.generate(), isLean=True)

    def _useCertificate(self, context: SSL.Context, identity: Identity) -> None:
        try:
            context.use_certificate_chain_file(os.fspath(self._certificate))
        except SSL.Error:
            raise BadIdentity(f"cannot use the certificate in {self._certificate}") from None
        try:
            context.use_privatekey_file(os.fspath(self._privateKey))
            context.check_privatekey()
        except SSL.Error:
            raise BadIdentity(
                f"{self._privateKey} does not hold the private key of {self._certificate}"
            ) from None


@implementer(IOpenSSLClientConnectionCreator)
class NamedServiceTLS(IdentityTLS):
    """
    Like L{IdentityTLS} for a client that also believes an ordinary certificate of the server.

    The authorities are those of this machine's OpenSSL (C{SSL_CERT_FILE} names others).

    @param host: The name or IP literal that the person gave.
    """

    def __init__(self, identity: Identity, host: str) -> None:
        super().__init__(identity, isLean=True)
        try:
            self._serviceID: DNS_ID | IPAddress_ID = IPAddress_ID(TransportAddress(host, 0).host)
            self._serverName = None
        except BadAddress:
            self._serverName = _asciiName(host)
            try:
                self._serviceID = DNS_ID(self._serverName.decode("ascii"))
            except ValueError:
                raise BadAddress(f"{host!r} is not a host name") from None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        Make the OpenSSL side of one connection.
        """
        connection = super().clientConnectionForTLS(tlsProtocol)
        if self._serverName is not None:
            connection.set_tlsext_host_name(self._serverName)
        return connection

    def _makeContext(self, identity: Identity) -> SSL.Context:
        context = super()._makeContext(identity)
        context.set_default_verify_paths()
        return context

    def _check(self, certificate: X509, depth: int, isValid: bool) -> None:
        if depth == 0 and _isIdentity(certificate):
            return
        if not isValid:
            raise WrongPeer("no authority that this machine trusts vouches for the certificate")
        if depth == 0:
            try:
                verify_service_identity(extract_patterns(certificate), [self._serviceID], [])
            except (VerificationError, CertificateError):
                raise WrongPeer("the certificate is for another host name") from None


class IdentityTLSTransport(BufferingTLSTransport):
    """
    Ends a handshake that failed with the reason why, and tells the other side by a TLS alert.
    """

    def failVerification(self, reason: Failure) -> None:
        """
        Note why the certificate is not believed: C{connectionLost} gets that.
        """
        # The inherited method would abort the connection, and the alert with it.
        self._reason = reason


class IdentityTLSFactory(TLSMemoryBIOFactory):
    """
    Puts TLS under the protocols of another factory.
    """

    protocol = IdentityTLSTransport

    def __init__(
        self, clock: IReactorTime, tls: IdentityTLS, isClient: bool, factory: IProtocolFactory
    ) -> None:
        super().__init__(tls, isClient, factory, clock)

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        """
        Make the protocol of one connection, unless the other factory refuses it.
        """
        # The inherited method would wrap None.
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


def channelBinding(transport: object) -> bytes:
    """
    What ties a proof to one TLS connection, on both of its sides (C{tls-exporter}, RFC 9266).
    """
    connection: SSL.Connection = cast(IdentityTLSTransport, transport).getHandle()
    return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def peerIDOf(transport: object) -> PeerID | None:
    """
    The peer ID that the other side of a TLS connection proved, after the handshake.

    @return: C{None} for an ordinary certificate.
    """
    certificate = cast(IdentityTLSTransport, transport).getPeerCertificate()
    if certificate is None or not _isIdentity(certificate):
        return None
    return _peerIDIn(certificate)


def _isIdentity(certificate: X509) -> bool:
    try:
        _peerIDIn(certificate)
    except WrongPeer:
        return False
    return True


def _peerIDIn(certificate: X509) -> PeerID:
    try:
        return PeerID.fromCertificate(certificate.to_cryptography())
    except (BadPeerID, ValueError):
        raise WrongPeer("the other side's certificate carries no Ed25519 key") from None


def _asciiName(host: str) -> bytes:
    try:
        return host.encode("idna")
    except UnicodeError:
        raise BadAddress(f"{host!r} is not a host name") from None
