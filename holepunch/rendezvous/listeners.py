"""
The sockets of the assist listeners: every given host with every given port, over UDP and over TCP.

Two hosts and two ports, so four combinations, are what behaviour discovery needs (RFC 5780 section
6). There is one socket for each, so that every answer leaves from the address that it is about.

Owns: binding them, all or none.
Knows nothing of: what they answer.
Driven by: L{RendezvousService<holepunch.rendezvous.service.RendezvousService>}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from holepunch.address import TransportAddress
from holepunch.errors import CannotListen
from holepunch.rendezvous.assist import Assist, AssistProtocol, AssistStreamFactory

_BACKLOG = 1024
_ATTEMPTS = 20


class AssistListeners:
    """
    All sockets of a service's assist listeners.

    @ivar addresses: Where they listen, once they do; the given ones come first.
    """

    def __init__(
        self,
        reactor: Any,
        assist: Assist,
        addresses: Sequence[TransportAddress],
        advertised: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param reactor: Provides IReactorUDP and IReactorTCP.
        @param addresses: A port of 0 is chosen, the same one for UDP and TCP on every host.
        @param advertised: The public IP address of each host that is behind a NAT itself.
        """
        self._reactor = reactor
        self._assist = assist
        self._wanted = tuple(addresses)
        self._advertised = dict(advertised or {})
        self._ports: list[Any] = []
        self.addresses: tuple[TransportAddress, ...] = ()

    @property
    def publicAddresses(self) -> tuple[TransportAddress, ...]:
        """
        Where the listeners are for others.
        """
        return tuple(self._public(address) for address in self.addresses)

    def start(self) -> None:
        """
        Bind all sockets.

        @raise CannotListen: One could not be bound; none is.
        """
        mayChoose = any(address.port == 0 for address in self._wanted)
        for attempt in range(_ATTEMPTS):
            try:
                self.addresses = self._bindAll()
                break
            except CannotListenError as error:
                self._closeAll()
                # A port that was free for UDP may be taken for TCP, or on another host.
                if not mayChoose or attempt == _ATTEMPTS - 1:
                    raise CannotListen(f"the assist listener cannot start: {error}") from None
        public = {local: self._public(local) for local in self.addresses}
        self._assist.listensOn(self.addresses, public, self._reactor)

    def stop(self) -> Deferred[object]:
        """
        Close all sockets.
        """
        self._assist.stop()
        return self._closeAll()

    def _bindAll(self) -> tuple[TransportAddress, ...]:
        chosen: dict[TransportAddress, int] = {}
        bound = []
        for wanted in combinations(self._wanted):
            # Port 0 means another port for each address that asks for it, not for each host.
            port = wanted.port or chosen.get(wanted, 0)
            bound.append(self._bind(wanted.host, port))
            if not wanted.port:
                chosen.update(
                    {each: bound[-1].port for each in combinations(self._wanted) if not each.port}
                )
        return tuple(bound)

    def _bind(self, host: str, port: int) -> TransportAddress:
        datagrams = self._reactor.listenUDP(port, AssistProtocol(self._assist), interface=host)
        self._ports.append(datagrams)
        address = cast(IPv4Address, datagrams.getHost())
        factory = AssistStreamFactory(self._assist)
        self._ports.append(
            self._reactor.listenTCP(address.port, factory, backlog=_BACKLOG, interface=host)
        )
        return TransportAddress(address.host, address.port)

    def _closeAll(self) -> Deferred[object]:
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(cast(IListeningPort, port).stopListening) for port in ports]
        closed: Deferred[object] = DeferredList(closing).addCallback(lambda results: None)
        return closed

    def _public(self, local: TransportAddress) -> TransportAddress:
        return TransportAddress(self._advertised.get(local.host, local.host), local.port)


def combinations(addresses: Sequence[TransportAddress]) -> tuple[TransportAddress, ...]:
    """
    Every host of C{addresses} with every port that is given for its IP version; given ones first.
    """
    crossed = [
        TransportAddress(one.host, other.port)
        for one in addresses
        for other in addresses
        if one.family is other.family
    ]
    return tuple(dict.fromkeys([*addresses, *crossed]))
