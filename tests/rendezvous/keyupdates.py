"""
A TLS 1.3 client that has its own idea of KeyUpdates (RFC 8446 section 4.6.3).

OpenSSL does the handshake. Then its traffic secret is taken over, and the records are made here:
pyOpenSSL cannot send a KeyUpdate, and would not send as many.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from holepunch.identity import Identity

_HASHES = {32: hashes.SHA256(), 48: hashes.SHA384()}
_KEY_LENGTHS = {"TLS_AES_128_GCM_SHA256": 16}


class IConnection(ITCPTransport, IConsumer, IPushProducer):
    """
    What the transport can do.
    """


class KeyUpdater(Protocol):
    """
    Connects, and then only changes its keys.

    @ivar isReady: Is the handshake done?
    """

    transport: IConnection

    def __init__(self, identity: Identity) -> None:
        self.lost: list[Failure] = []
        self.isReady = False
        self.received = 0
        self._secrets: dict[bytes, bytes] = {}
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(identity.certificate())
        context.use_privatekey(identity.privateKey)
        context.set_keylog_callback(self._secretLogged)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()

    def _secretLogged(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        self._secrets[label] = bytes.fromhex(secret.decode())

    def connectionMade(self) -> None:
        self._handshake()

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if not self.isReady:
            self._tls.bio_write(data)
            self._handshake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            pass
        else:
            self.isReady = True
            self._secret = self._secrets[b"CLIENT_TRAFFIC_SECRET_0"]
        self.transport.write(self._tls.bio_read(65536))

    def records(self, count: int) -> bytes:
        """
        So many KeyUpdates; each demands one of the other side, too.
        """
        return b"".join(self._record() for _ in range(count))

    def _record(self) -> bytes:
        name = self._tls.get_cipher_name() or ""
        kind = ChaCha20Poly1305 if "CHACHA" in name else AESGCM
        cipher = kind(self._derive(b"key", _KEY_LENGTHS.get(name, 32)))
        # A handshake message (22): KeyUpdate (24) of one byte, update_requested (1).
        content = bytes([24, 0, 0, 1, 1, 22])
        header = bytes([23, 3, 3]) + (len(content) + 16).to_bytes(2, "big")
        record = header + cipher.encrypt(self._derive(b"iv", 12), content, header)
        self._secret = self._derive(b"traffic upd", len(self._secret))
        return record

    def _derive(self, label: bytes, length: int) -> bytes:
        name = b"tls13 " + label
        information = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return HKDFExpand(_HASHES[len(self._secret)], length, information).derive(self._secret)
