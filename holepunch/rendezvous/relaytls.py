"""
TLS for clients of the relay: the server shows a certificate, and asks for none.

Owns: the OpenSSL context.
Knows nothing of: what is said over the connection.
Driven by: L{RelayService<holepunch.rendezvous.relay.RelayService>}.
"""

from __future__ import annotations

import os

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from holepunch.errors import BadIdentity
from holepunch.identity import Identity

# RFC 7443.
_PROTOCOL = b"stun.turn"


@implementer(IOpenSSLServerConnectionCreator)
class RelayTLS:
    """
    Makes the server's side of TLS connections.

    Our own peers expect the service's key; clients of other makers an ordinary certificate.
    """

    def __init__(
        self,
        identity: Identity,
        certificate: str | os.PathLike[str] | None = None,
        privateKey: str | os.PathLike[str] | None = None,
    ) -> None:
        """
        @param identity: What the server proves, where there is no certificate.
        @param certificate: A PEM file: the certificate, then its chain.
        @param privateKey: A PEM file; the same one if it holds both.
        @raise BadIdentity: The files cannot be used.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_alpn_select_callback(
            lambda connection, offered: (
                _PROTOCOL if _PROTOCOL in offered else SSL.NO_OVERLAPPING_PROTOCOLS
            )
        )
        if certificate is None:
            context.use_certificate(identity.certificate())
            context.use_privatekey(identity.privateKey)
        else:
            try:
                context.use_certificate_chain_file(os.fspath(certificate))
                context.use_privatekey_file(os.fspath(privateKey or certificate))
                context.check_privatekey()
            except SSL.Error:
                raise BadIdentity(
                    f"cannot use the certificate in {certificate} with its private key"
                ) from None
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        Make the OpenSSL side of one connection.
        """
        return SSL.Connection(self._context, None)
