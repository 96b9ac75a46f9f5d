"""
The rendezvous service as a Twisted service: main connections and assist listeners of one operator.

Owns: starting and stopping all of it together.
Knows nothing of: command lines (L{holepunch.tap}).
Driven by: C{twistd}, or any program that has a place for a service.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import TransportAddress, isUsableHost
from holepunch.errors import BadPeerID, CannotListen
from holepunch.identity import Identity, PeerID
from holepunch.interfaces import IRegistry
from holepunch.rendezvous.assist import Assist
from holepunch.rendezvous.authentication import Authority
from holepunch.rendezvous.exchange import KEEPALIVE_INTERVAL, Exchange
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.listeners import AssistListeners
from holepunch.rendezvous.location import DEFAULT_PORT
from holepunch.rendezvous.relay import ExternalRelay, RelayService
from holepunch.rendezvous.server import MainConnection, RendezvousFactory
from holepunch.rendezvous.wirelimit import LimitedTLSFactory
from holepunch.tls import CertifiedTLS, IdentityTLS
from holepunch.turn.credential import userOf

DEFAULT_MAIN = f"tcp:{DEFAULT_PORT}"
DEFAULT_ASSIST = TransportAddress("0.0.0.0", 3478)


class RendezvousService(MultiService):
    """
    A rendezvous service.

    @ivar exchange: What its main connections share.
    @ivar mainAddresses: Where it listens for main connections, once it does.
    @ivar assistAddresses: Where it listens for STUN, once it does.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        identity: Identity,
        *,
        main: Sequence[str] = (DEFAULT_MAIN,),
        assist: Sequence[TransportAddress] = (DEFAULT_ASSIST,),
        certified: CertifiedTLS | None = None,
        registry: IRegistry | None = None,
        limits: Limits | None = None,
        keepaliveInterval: float = KEEPALIVE_INTERVAL,
        advertised: Mapping[str, str] | None = None,
        allowAnonymous: bool = True,
        relay: RelayService | ExternalRelay | None = None,
        authority: Authority | None = None,
        protocol: type[MainConnection] = MainConnection,
    ) -> None:
        """
        @param reactor: Provides IReactorTime, IReactorTCP and IReactorUDP.
        @param main: Twisted's descriptions of server endpoints.
        @param assist: Hosts and ports of the assist listeners; all combinations are used.
        @param certified: Shown to peers instead of the identity.
        @param advertised: The public IP address of each assist host that is behind a NAT itself.
        @param allowAnonymous: Answer STUN requests without a ticket, too.
        @param relay: What peers may use to reach each other where nothing else works.
        @param authority: Decides who is a user; without it, everybody may register.
        """
        super().__init__()
        self._reactor = reactor
        self._identity = identity
        self._isCertified = certified is not None
        self._tls = certified if certified is not None else IdentityTLS(identity, isLean=True)
        self.exchange = Exchange(
            reactor,
            registry=registry,
            limits=limits,
            keepaliveInterval=keepaliveInterval,
            authority=authority,
        )
        self.factory = RendezvousFactory(self.exchange)
        self.factory.protocol = protocol
        self._main = tuple(main)
        self._assist = AssistListeners(
            reactor, Assist(self.exchange, allowAnonymous), assist, advertised
        )
        self._relay = relay if isinstance(relay, RelayService) else None
        if relay is not None:
            self._offer(relay)
        self._ports: list[IListeningPort] = []
        self._isBound = False

    @property
    def mainAddresses(self) -> tuple[TransportAddress, ...]:
        """
        Where the service listens for main connections.
        """
        hosts = [cast(IPv4Address, port.getHost()) for port in self._ports]
        return tuple(TransportAddress(host.host, host.port) for host in hosts)

    @property
    def assistAddresses(self) -> tuple[TransportAddress, ...]:
        """
        Where the service listens for STUN, the given addresses first.
        """
        return self._assist.addresses

    def privilegedStartService(self) -> None:
        """
        Bind all sockets.

        @raise CannotListen: One cannot be bound; none is.
        """
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """
        Bind the sockets if that was not done, and say where.

        @raise CannotListen: One cannot be bound; none is.
        """
        self._bind()
        super().startService()
        self._announce()

    def stopService(self) -> Deferred[None]:
        """
        Say goodbye to the peers and close everything.
        """
        stopped: list[Deferred[Any]] = [
            maybeDeferred(super().stopService),
            self._close(),
            self.exchange.stop("the rendezvous service stops"),
        ]
        return DeferredList(stopped).addCallback(lambda results: None)

    def _bind(self) -> None:
        if self._isBound:
            return
        self._isBound = True
        try:
            if self._relay is not None:
                self._relay.bind()
            self._assist.start()
            self.exchange.assist = self._assist.publicAddresses
            for description in self._main:
                self._listen(description)
        except CannotListen:
            self._close()
            if self._relay is not None:
                self._relay.unbind()
            raise

    def _offer(self, relay: RelayService | ExternalRelay) -> None:
        self.exchange.offerRelay(
            lambda registration: relay.grantFor(
                registration.peerID.text, registration.observed.host
            ),
            relay.hosts,
        )
        if isinstance(relay, RelayService):
            relay.allocated = self._allocated
            relay.setServiceParent(self)

    def _allocated(self, username: str, relayed: TransportAddress) -> None:
        # Credentials may be made for others than peers, by whoever shares the secret.
        with contextlib.suppress(BadPeerID):
            self.exchange.relayAllocated(PeerID(userOf(username)), relayed)

    def _listen(self, description: str) -> None:
        tls = LimitedTLSFactory(self.exchange, self._tls, self.factory)
        endpoint = serverFromString(self._reactor, description)
        failures: list[Failure] = []
        endpoint.listen(tls).addCallbacks(self._ports.append, failures.append)
        for failure in failures:
            failure.trap(CannotListenError)
            raise CannotListen(
                f"cannot listen for main connections on {description}: {failure.value}"
            )

    def _close(self) -> Deferred[None]:
        self._isBound = False
        ports, self._ports = self._ports, []
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList([*closing, self._assist.stop()]).addCallback(lambda results: None)

    def _announce(self) -> None:
        who = "" if self._isCertified else f"{self._identity.peerID}@"
        for address in self.mainAddresses:
            self._log.info("rendezvous service {location}", location=f"{who}{address}")
        for address in self.assistAddresses:
            self._log.info("assist listener {address}, UDP and TCP", address=str(address))
        if not all(isUsableHost(address.host) for address in self.assistAddresses):
            self._log.info(
                "an assist listener on all addresses cannot offer filtering discovery (RFC 5780): "
                "name two addresses of this host with --assist for that"
            )
