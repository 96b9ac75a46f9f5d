"""
The TLS 1.3 handshake inside QUIC, with both identities pinned (RFC 9001, RFC 8446).

Owns: which certificate we show, which one we believe, and the server's side of the handshake.
Knows nothing of: packets and streams.
Driven by: L{holepunch.peer.quiccore}, through qh3's C{QuicTlsBridge}.

qh3's client shows a certificate to a server that asks for one, but its server cannot ask. Hence the
server's side is written here, out of qh3's building blocks: one flight with a CertificateRequest,
then the client's Certificate, CertificateVerify and Finished. It is what any TLS 1.3 stack speaks.
There is no resumption, no 0-RTT and no HelloRetryRequest: the client must offer a key share of
X25519MLKEM768 or X25519.
"""

from __future__ import annotations

import hmac
import os
import ssl

from cryptography.hazmat.primitives import serialization
from qh3 import tls
from qh3._hazmat import (
    Buffer,
    Certificate,
    Ed25519PrivateKey,
    X25519KeyExchange,
    X25519ML768KeyExchange,
)
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.tls_bridge import QuicTlsBridge

from holepunch.errors import WrongPeer
from holepunch.identity import Identity, PeerID

ALPN = "holepunch"
"""
What the two ends agree to speak (RFC 7301): the streams and datagrams of C{docs/protocol.md}.
"""

_SIGNATURE = tls.SignatureAlgorithm.ED25519
_CIPHERS = [
    tls.CipherSuite.AES_128_GCM_SHA256,
    tls.CipherSuite.AES_256_GCM_SHA384,
    tls.CipherSuite.CHACHA20_POLY1305_SHA256,
]
# A SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410 section 4).
_KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")


def useIdentity(configuration: QuicConfiguration, identity: Identity) -> None:
    """
    Let the handshake prove C{identity}, and take nothing but Ed25519 for a proof.
    """
    configuration.alpn_protocols = [ALPN]
    configuration.signature_algorithms = [_SIGNATURE]
    # No authority vouches for identities: the key is compared instead.
    configuration.verify_mode = ssl.CERT_NONE
    configuration.load_cert_chain(
        identity.certificate().public_bytes(serialization.Encoding.PEM),
        identity.privateKey.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def pin(bridge: QuicTlsBridge, expected: PeerID) -> PinnedHandshake:
    """
    Make the handshake of C{bridge} demand the proof of one identity.
    """
    kind = PinnedClient if bridge.configuration.is_client else PinnedServer
    context = kind(
        is_client=bridge.configuration.is_client,
        alpn_protocols=bridge.configuration.alpn_protocols,
        signature_algorithms=bridge.configuration.signature_algorithms,
        verify_mode=bridge.configuration.verify_mode,
    )
    context.expected = expected
    for name in (
        "certificate",
        "certificate_private_key",
        "handshake_extensions",
        "alpn_cb",
        "update_traffic_key_cb",
    ):
        setattr(context, name, getattr(bridge.tls, name))
    bridge.tls = context
    return context


class PinnedHandshake(tls.Context):  # type: ignore[misc, unused-ignore]
    """
    What both sides do about the other side's certificate.

    @ivar wrongPeer: Why the other side is not believed, once that is known.
    """

    expected: PeerID
    wrongPeer: WrongPeer | None = None

    def _refuse(self, alert: type[tls.Alert], sentence: str) -> tls.Alert:
        self.wrongPeer = WrongPeer(sentence)
        # Whoever that is need not know whom we expect.
        return alert("the certificate is not the expected one")

    def _takeCertificate(self, certificate: tls.Certificate) -> None:
        """
        Note the other side's certificate, which must carry the expected key.
        """
        if not certificate.certificates:
            raise self._refuse(_CertificateRequired, "the other side shows no certificate")
        try:
            parsed = Certificate(certificate.certificates[0][0])
            # The verification of the handshake's signature uses the very same bytes.
            key = parsed.public_key()
        except Exception as error:
            # The other side made the certificate, and parsers fail in many ways.
            raise self._refuse(
                tls.AlertBadCertificate, f"the other side's certificate cannot be read: {error}"
            ) from None
        prefix, raw = key[: len(_KEY_PREFIX)], key[len(_KEY_PREFIX) :]
        if prefix != _KEY_PREFIX or len(raw) != 32:
            raise self._refuse(
                tls.AlertBadCertificate, "the other side's certificate carries no Ed25519 key"
            )
        if raw != self.expected.publicKey:
            raise self._refuse(
                tls.AlertBadCertificate,
                f"the other side is {PeerID.fromPublicKey(raw)}, and not {self.expected}",
            )
        self._peer_certificate = parsed


class _CertificateRequired(tls.Alert):  # type: ignore[misc, unused-ignore]
    description = tls.AlertDescription.certificate_required


class PinnedClient(PinnedHandshake):
    """
    The client's side: qh3's own, which ends at a wrong certificate before anything was proven to
    the other side.
    """

    def _process_certificate(self, certificate: tls.Certificate) -> None:
        self._takeCertificate(certificate)
        super()._process_certificate(certificate)

    def _client_handle_compressed_certificate(self, input_buf: Buffer) -> None:
        # A few bytes may unpack to gigabytes, and identities are not worth compressing.
        raise tls.AlertUnexpectedMessage("compressed certificates are not used")


class PinnedServer(PinnedHandshake):
    """
    The server's side, which requires the client's certificate (RFC 8446 sections 2 and 4.4).
    """

    _schedule: tls.KeySchedule
    _isCertificateSeen = False
    _isClientProven = False

    def handle_message(
        self, input_data: bytes, output_buf: dict[tls.Epoch, Buffer], epoch: int = -1
    ) -> None:
        """
        Take handshake bytes; what there is to answer goes into C{output_buf}.

        @raise tls.Alert: The handshake failed.
        """
        self._receive_buffer += input_data
        while len(self._receive_buffer) >= 4:
            length = 4 + int.from_bytes(self._receive_buffer[1:4], "big")
            if len(self._receive_buffer) < length:
                break
            message = self._receive_buffer[:length]
            self._receive_buffer = self._receive_buffer[length:]
            self._receiveMessage(message, output_buf, epoch)

    def _receiveMessage(self, message: bytes, output: dict[tls.Epoch, Buffer], epoch: int) -> None:
        expected = {
            tls.State.SERVER_EXPECT_CLIENT_HELLO: tls.Epoch.INITIAL,
            tls.State.SERVER_EXPECT_FINISHED: tls.Epoch.HANDSHAKE,
        }
        if expected.get(self.state) != epoch:
            raise tls.AlertUnexpectedMessage("a handshake message came at the wrong time")
        buffer = Buffer(data=message)
        kind = message[0]
        if self.state is tls.State.SERVER_EXPECT_CLIENT_HELLO:
            if kind != tls.HandshakeType.CLIENT_HELLO:
                raise tls.AlertUnexpectedMessage("the first message is no ClientHello")
            self._receiveHello(buffer, output)
        elif kind == tls.HandshakeType.CERTIFICATE and not self._isCertificateSeen:
            self._isCertificateSeen = True
            self._takeCertificate(tls.pull_certificate(buffer))
        elif (
            kind == tls.HandshakeType.CERTIFICATE_VERIFY
            and self._isCertificateSeen
            and not self._isClientProven
        ):
            self._verifyClient(tls.pull_certificate_verify(buffer))
        elif kind == tls.HandshakeType.FINISHED:
            if not self._isClientProven:
                raise self._refuse(_CertificateRequired, "the other side proves no identity")
            self._finish(tls.pull_finished(buffer))
        else:
            raise tls.AlertUnexpectedMessage("a handshake message came out of order")
        if not buffer.eof():
            raise tls.AlertDecodeError("extra bytes at the end of a handshake message")
        if kind != tls.HandshakeType.CLIENT_HELLO:
            self._schedule.update_hash(message)

    def _receiveHello(self, buffer: Buffer, output: dict[tls.Epoch, Buffer]) -> None:
        hello = tls.pull_client_hello(buffer)
        suite = tls.negotiate(
            _CIPHERS, hello.cipher_suites, tls.AlertHandshakeFailure("no common cipher suite")
        )
        if tls.TLS_VERSION_1_3 not in (hello.supported_versions or ()):
            raise tls.AlertProtocolVersion("only TLS 1.3 is spoken")
        if _SIGNATURE not in (hello.signature_algorithms or ()):
            raise tls.AlertHandshakeFailure("the client does not take Ed25519 certificates")
        self.alpn_negotiated = tls.negotiate(
            [ALPN], hello.alpn_protocols, tls.AlertHandshakeFailure("no common protocol")
        )
        self.client_random = hello.random
        self.received_extensions = hello.other_extensions
        if self.alpn_cb is not None:
            self.alpn_cb(self.alpn_negotiated)
        group, share, secret = _agree(hello.key_share or [])

        schedule = self.key_schedule = self._schedule = tls.KeySchedule(suite)
        schedule.extract(None)
        schedule.update_hash(buffer.data)
        initial, handshake = output[tls.Epoch.INITIAL], output[tls.Epoch.HANDSHAKE]
        with tls.push_message(schedule, initial):
            tls.push_server_hello(
                initial,
                tls.ServerHello(
                    random=os.urandom(32),
                    legacy_session_id=hello.legacy_session_id,
                    cipher_suite=suite,
                    compression_method=tls.CompressionMethod.NULL,
                    key_share=(group, share),
                    supported_version=tls.TLS_VERSION_1_3,
                ),
            )
        schedule.extract(secret)
        serverSecret = self._install(tls.Direction.ENCRYPT, tls.Epoch.HANDSHAKE, b"s hs traffic")
        self._clientSecret = self._install(
            tls.Direction.DECRYPT, tls.Epoch.HANDSHAKE, b"c hs traffic"
        )
        self._pushFlight(schedule, handshake, serverSecret)
        # The application's keys cover the handshake up to here (RFC 8446 section 7.1).
        schedule.extract(None)
        self._install(tls.Direction.ENCRYPT, tls.Epoch.ONE_RTT, b"s ap traffic")
        self._applicationSecret = schedule.derive_secret(b"c ap traffic")
        self.state = tls.State.SERVER_EXPECT_FINISHED

    def _pushFlight(self, schedule: tls.KeySchedule, out: Buffer, secret: bytes) -> None:
        """
        Write everything that is encrypted with the handshake's keys (RFC 8446 section 4.3 and 4.4).
        """
        with tls.push_message(schedule, out):
            tls.push_encrypted_extensions(
                out,
                tls.EncryptedExtensions(
                    alpn_protocol=self.alpn_negotiated, other_extensions=self.handshake_extensions
                ),
            )
        with tls.push_message(schedule, out):
            out.push_uint8(tls.HandshakeType.CERTIFICATE_REQUEST)
            with tls.push_block(out, 3):
                tls.push_opaque(out, 1, b"")
                with (
                    tls.push_block(out, 2),
                    tls.push_extension(out, tls.ExtensionType.SIGNATURE_ALGORITHMS),
                ):
                    tls.push_list(out, 2, out.push_uint16, [_SIGNATURE])
        certificate, key = self.certificate, self.certificate_private_key
        assert certificate is not None and isinstance(key, Ed25519PrivateKey)
        with tls.push_message(schedule, out):
            tls.push_certificate(
                out, tls.Certificate(certificates=[(certificate.public_bytes(), b"")])
            )
        signature = key.sign(schedule.certificate_verify_data(b"TLS 1.3, server CertificateVerify"))
        with tls.push_message(schedule, out):
            tls.push_certificate_verify(
                out, tls.CertificateVerify(algorithm=_SIGNATURE, signature=signature)
            )
        with tls.push_message(schedule, out):
            tls.push_finished(out, tls.Finished(schedule.finished_verify_data(secret)))

    def _verifyClient(self, verify: tls.CertificateVerify) -> None:
        signed = self._schedule.certificate_verify_data(b"TLS 1.3, client CertificateVerify")
        if verify.algorithm != _SIGNATURE or not self.expected.verify(verify.signature, signed):
            raise self._refuse(
                tls.AlertDecryptError, "the other side does not hold the key that it shows"
            )
        self._isClientProven = True

    def _finish(self, finished: tls.Finished) -> None:
        expected = self._schedule.finished_verify_data(self._clientSecret)
        if not hmac.compare_digest(finished.verify_data, expected):
            raise tls.AlertDecryptError("the handshake was altered on its way")
        self.update_traffic_key_cb(
            tls.Direction.DECRYPT,
            tls.Epoch.ONE_RTT,
            self._schedule.cipher_suite,
            self._applicationSecret,
        )
        self.state = tls.State.SERVER_POST_HANDSHAKE

    def _install(self, direction: tls.Direction, epoch: tls.Epoch, label: bytes) -> bytes:
        secret: bytes = self._schedule.derive_secret(label)
        self.update_traffic_key_cb(direction, epoch, self._schedule.cipher_suite, secret)
        return secret


def _agree(shares: list[tuple[int, bytes]]) -> tuple[int, bytes, bytes]:
    """
    Agree on a secret with the first of the client's key shares that we know.

    @return: The group, our share, and the secret.
    """
    for group, theirs in shares:
        if group in _GROUPS:
            try:
                return (group, *_GROUPS[group](theirs))
            except Exception:
                # What comes is whatever the client sent, and the library names no error for it.
                break
    raise tls.AlertIllegalParameter("the client offers no key share of X25519 that can be used")


def _exchangeHybrid(theirs: bytes) -> tuple[bytes, bytes]:
    exchange = X25519ML768KeyExchange()
    secret = exchange.exchange(theirs)
    return exchange.shared_ciphertext(), secret


def _exchangeCurve(theirs: bytes) -> tuple[bytes, bytes]:
    exchange = X25519KeyExchange()
    return exchange.public_key(), exchange.exchange(theirs)


_GROUPS = {
    int(tls.Group.X25519ML768): _exchangeHybrid,
    int(tls.Group.X25519): _exchangeCurve,
}
