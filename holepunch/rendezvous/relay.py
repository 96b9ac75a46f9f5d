"""
The relay of a rendezvous service: the embedded TURN server, or one that runs elsewhere.

Owns: the listeners of the embedded one; leave to use either.
Knows nothing of: TURN, which is L{holepunch.turn}'s; who is registered.
Driven by: L{RendezvousService<holepunch.rendezvous.service.RendezvousService>}, or any program that
has a place for a service.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import ifaddr
from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from holepunch.address import Transport, TransportAddress, isUsableHost
from holepunch.errors import CannotListen
from holepunch.rendezvous.relayclients import ClientDatagrams, ClientStreams
from holepunch.rendezvous.relayexchange import RelayExchange
from holepunch.rendezvous.relaygrant import RelayGrant, RelayServer
from holepunch.rendezvous.relaysockets import LONGEST_DATAGRAM
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.turn import PeerPolicy, RelayLimits, mintCredential
from holepunch.turn.ports import HIGHEST, LOWEST
from holepunch.turn.relayserver import NONCE_LIFETIME

DEFAULT_REALM = "holepunch"

# As long as its nonces: until then a grant saves its peer a round trip.
_GRANT_LIFETIME = NONCE_LIFETIME
_BACKLOG = 1024
_ATTEMPTS = 20


def machineHosts() -> list[str]:
    """
    The addresses of this machine's network interfaces.
    """
    return [
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]


class ExternalRelay:
    """
    A TURN server that runs elsewhere, such as coturn with C{use-auth-secret}.

    @ivar hosts: Where its relayed addresses are.
    """

    def __init__(
        self,
        clock: IReactorTime,
        servers: Sequence[RelayServer],
        secret: bytes,
        hosts: Sequence[str],
        realm: str = "",
    ) -> None:
        """
        @param secret: Shared with that server.
        @param hosts: The IP addresses on which it makes relayed addresses.
        @param realm: That server's, where it is known.
        """
        self.hosts = tuple(hosts)
        self._clock = clock
        self._servers = tuple(servers)
        self._secret = secret
        self._realm = realm

    def grantFor(self, user: str, host: str = "") -> RelayGrant:
        """
        Leave for one user to use the relay.
        """
        expiresAt = int(self._clock.seconds() + _GRANT_LIFETIME)
        credential = mintCredential(self._secret, user, expiresAt)
        return RelayGrant(
            username=credential.username,
            password=credential.password,
            realm=self._realm,
            lifetime=_GRANT_LIFETIME,
            servers=tuple(server.format() for server in self._servers),
        )


class RelayService(Service):
    """
    The embedded TURN server.

    @ivar allocated: Called with user name and relayed address of each allocation; replace it.
    @ivar exchange: The relay at work, once it is.
    @ivar servers: Where it is for others, once it listens.
    """

    _log = Logger()
    hosts: tuple[str, ...] = ()

    def __init__(
        self,
        reactor: Any,
        addresses: Sequence[TransportAddress],
        *,
        secret: bytes | None = None,
        realm: str = DEFAULT_REALM,
        limits: RelayLimits | None = None,
        ports: tuple[int, int] = (LOWEST, HIGHEST),
        allowed: Sequence[str] = (),
        advertised: Mapping[str, str] | None = None,
        tlsPorts: Sequence[int] = (),
        tls: RelayTLS | None = None,
        users: Mapping[str, str] | None = None,
        ownHosts: Callable[[], Sequence[str]] = machineHosts,
    ) -> None:
        """
        @param reactor: Provides IReactorTime, IReactorTCP and IReactorUDP.
        @param addresses: Where to listen, over UDP and TCP. Relayed addresses are on the first one
            of each IP version. A port of 0 is chosen.
        @param secret: For ephemeral credentials; shared with other programs that make them.
        @param ports: The lowest and the highest port of relayed addresses.
        @param allowed: Networks that may be relayed to although they are not public.
        @param advertised: The public IP address of each host that is behind a NAT itself.
        @param tlsPorts: Where to listen for TLS, on the same hosts.
        @param tls: What is shown there.
        @param users: The passwords of users without a time limit.
        @param ownHosts: Tells the addresses of this machine, which are never relayed to.
        @raise BadAddress: One of C{allowed} is no network.
        """
        self.allocated: Callable[[str, TransportAddress], object] = lambda username, relayed: None
        self.servers: tuple[RelayServer, ...] = ()
        self.realm = realm
        self._reactor = reactor
        self._advertised = dict(advertised or {})
        local = {public: host for host, public in self._advertised.items()}
        # Whoever is behind a NAT may name either address.
        self._wanted = [
            TransportAddress(local.get(each.host, each.host), each.port) for each in addresses
        ]
        self._secret = secret if secret is not None else os.urandom(32)
        self._tls = tls
        self._tlsPorts = tuple(tlsPorts)
        self._ports: list[Any] = []
        hosts = dict.fromkeys(each.host for each in self._wanted)
        public = {host: self._advertised.get(host, host) for host in hosts}
        self._makeExchange = partial(
            RelayExchange,
            reactor,
            public,
            realm=realm,
            secret=self._secret,
            policy=PeerPolicy([*ownHosts(), *hosts, *public.values()], allowed),
            limits=limits or RelayLimits(),
            ports=ports,
            allocated=lambda username, relayed: self.allocated(username, relayed),
            users=users,
        )
        self.exchange = self._makeExchange()

    def grantFor(self, user: str, host: str = "") -> RelayGrant:
        """
        Leave for one user to use the relay.

        @param host: Where the user comes from: from there the first request need not be challenged.
        """
        now = self._reactor.seconds()
        credential = mintCredential(self._secret, user, int(now + _GRANT_LIFETIME))
        nonce = self.exchange.server.nonceFor(credential.username, host, now)
        return RelayGrant(
            username=credential.username,
            password=credential.password,
            realm=self.realm,
            nonce=nonce.decode("ascii"),
            lifetime=_GRANT_LIFETIME,
            servers=tuple(server.format() for server in self.servers),
        )

    def privilegedStartService(self) -> None:
        """
        Bind all sockets.

        @raise CannotListen: One cannot be bound; none is.
        """
        super().privilegedStartService()
        self.bind()

    def startService(self) -> None:
        """
        Bind the sockets if that was not done, and say where.

        @raise CannotListen: One cannot be bound; none is.
        """
        self.bind()
        super().startService()
        for server in self.servers:
            self._log.info("relay {uri}", uri=server.format())

    def stopService(self) -> Deferred[object]:
        """
        Close everything.
        """
        closing: list[Deferred[Any]] = [
            maybeDeferred(super().stopService),
            self.unbind(),
            self.exchange.stop(),
        ]
        # Whoever starts it again starts anew.
        self.exchange = self._makeExchange()
        stopped: Deferred[object] = DeferredList(closing).addCallback(lambda results: None)
        return stopped

    def bind(self) -> None:
        """
        Bind all sockets, if that was not done.

        @raise CannotListen: One cannot be bound; none is.
        """
        if self._ports:
            return
        for address in self._wanted:
            if not isUsableHost(address.host):
                raise CannotListen(
                    f"the relay cannot use {address.host}: name an address that peers can reach"
                )
        mayChoose = any(address.port == 0 for address in self._wanted)
        # A port that was free for UDP may be taken for TCP.
        for _ in range(_ATTEMPTS if mayChoose else 1):
            refused = self._tryBind()
            if refused is None:
                return
        raise CannotListen(f"the relay cannot start: {refused}")

    def _tryBind(self) -> CannotListenError | None:
        try:
            self._bindAll()
        except CannotListenError as error:
            self.unbind()
            return error
        return None

    def _bindAll(self) -> None:
        servers: list[RelayServer] = []
        streams = ClientStreams(self.exchange)
        for wanted in self._wanted:
            protocol = ClientDatagrams(self.exchange)
            port = self._reactor.listenUDP(wanted.port, protocol, wanted.host, LONGEST_DATAGRAM)
            self._ports.append(port)
            self.exchange.listeners[protocol.local] = protocol
            number = protocol.local.port
            self._listen(number, streams, wanted.host)
            servers.extend(self._server(wanted.host, number, each) for each in Transport)
        for number in self._tlsPorts:
            for host in dict.fromkeys(each.host for each in self._wanted):
                tls = TLSMemoryBIOFactory(cast(Any, self._tls), False, streams, self._reactor)
                # A record a message: some clients (coturn's) read no further than one at a time.
                tls.protocol = TLSMemoryBIOProtocol
                bound = cast(IPv4Address, self._listen(number, tls, host).getHost()).port
                servers.append(self._server(host, bound, Transport.TCP, isSecure=True))
        # UDP first: it is the best one where it works at all.
        servers.sort(key=lambda each: (each.isSecure, each.transport is Transport.TCP))
        self.servers = tuple(servers)

    def _listen(self, port: int, factory: Any, host: str) -> Any:
        listening = self._reactor.listenTCP(port, factory, _BACKLOG, host)
        self._ports.append(listening)
        return listening

    def _server(
        self, host: str, port: int, transport: Transport, isSecure: bool = False
    ) -> RelayServer:
        public = self._advertised.get(host, host)
        return RelayServer(host=public, port=port, transport=transport, isSecure=isSecure)

    def unbind(self) -> Deferred[Any]:
        """
        Close the listeners.
        """
        ports, self._ports = self._ports, []
        self.exchange.listeners.clear()
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])
