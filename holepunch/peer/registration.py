"""
Stays registered with the rendezvous service: connects from the punching port, registers, keeps the
UDP mapping warm, and does it all again when the main connection is lost or this machine has other
addresses.

Owns: the main connection and the warm local ports; when to try again (back-off with jitter).
Knows nothing of: sessions.
Driven by: L{holepunch.peer.peer.Peer}, the clock, the main connection, the L{InterfaceWatch}.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Family, Transport
from holepunch.errors import (
    HolepunchError,
    LoginFailed,
    NoLocalPort,
    PeerClosed,
    PeerReplaced,
    RendezvousUnreachable,
)
from holepunch.identity import Identity
from holepunch.interfaces import IHostAddresses, IKnownServices, IRendezvousEvents
from holepunch.peer.assist import AssistClient, MappedCallback
from holepunch.peer.candidatesource import CandidateSources
from holepunch.peer.config import PeerConfig
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.gathering import oneOfEachHost
from holepunch.peer.hosts import hostsOf, isLocalService
from holepunch.peer.interfacewatch import InterfaceWatch
from holepunch.peer.localports import LocalPorts
from holepunch.peer.reactor import PeerReactor
from holepunch.rendezvous.authenticationclient import LoginCredentials
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.connecting import CONNECT_TIMEOUT, connectRendezvous
from holepunch.rendezvous.introduction import IntroductionPolicy, Registered
from holepunch.rendezvous.location import ServiceLocation


@attrs.frozen(kw_only=True)
class MainConnectionState:
    """
    What there is while this peer is registered.

    @ivar hosts: The addresses that this machine had when they were opened.
    @ivar ports: The warm ports; their mapped addresses are known to the service in advance.
    """

    client: RendezvousClient
    hosts: tuple[str, ...]
    ports: LocalPorts
    assist: AssistClient
    registered: Registered


@attrs.frozen(kw_only=True)
class Unregistered:
    """
    What there is to say when this peer could not register, or is no longer registered.

    @ivar isMendable: May another attempt succeed with nothing changed?
    """

    error: Exception
    isMendable: bool


class RegistrationKeeper:
    """
    Keeps one peer registered until stopped.

    @ivar state: What there is while registered; C{None} in between.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        location: ServiceLocation,
        events: IRendezvousEvents,
        *,
        name: str | None,
        config: PeerConfig,
        policy: IntroductionPolicy = IntroductionPolicy.AT_ONCE,
        credentials: LoginCredentials | None = None,
        known: IKnownServices,
        hosts: IHostAddresses,
        sources: CandidateSources,
        demultiplexer: Demultiplexer,
        mapped: MappedCallback,
        changed: Callable[[MainConnectionState | Unregistered], None],
        interfacesChanged: Callable[[tuple[str, ...]], None],
    ) -> None:
        """
        @param policy: When others are told our endpoints.
        @param credentials: Who logs in, at a service that has users.
        @param changed: Called with the new state after each registration, and with the reason after
            each loss or failed attempt.
        @param interfacesChanged: Called with all addresses of this machine when they have changed,
            before this peer registers from them.
        """
        self._reactor = reactor
        self._identity = identity
        self._location = location
        self._events = events
        self._name = name
        self._config = config
        self._policy = policy
        self._credentials = credentials
        self._known = known
        self._sources = sources
        self._demultiplexer = demultiplexer
        self._mapped = mapped
        self._changed = changed
        self._interfacesChanged = interfacesChanged
        self._watch = InterfaceWatch(
            reactor,
            config.interfaceInterval,
            lambda: hostsOf(hosts, withLoopback=isLocalService(location.host)),
            self._moved,
        )
        self._accepts = False
        self._loop: Deferred[None] | None = None
        self._lost: Deferred[None] | None = None
        self._pause: IDelayedCall | None = None
        self._finalReason: PeerReplaced | LoginFailed | None = None
        self._waiting: list[tuple[Deferred[MainConnectionState], bool]] = []
        self.state: MainConnectionState | None = None

    def start(self) -> None:
        """
        Begin to register.
        """
        if self._loop is None:
            self._finalReason = None
            self._watch.start()
            self._loop = Deferred.fromCoroutine(self._run())
            self._loop.addErrback(self._loopEnded)

    def _loopEnded(self, failure: Failure) -> None:
        if failure.check(CancelledError, ConnectingCancelledError) is None:
            self._log.failure("bug: this peer registers no longer", failure)

    async def stop(self) -> None:
        """
        Say goodbye and close everything.
        """
        loop, self._loop = self._loop, None
        self._watch.stop()
        state = self.state
        if state is not None:
            state.client.goodbye()
            self._lose(PeerClosed("the peer was stopped"))
        self._sources.close()
        self._settle(PeerClosed("the peer was stopped"), always=True)
        if loop is not None:
            # Not at once: the loop itself may have called whoever stops us.
            await deferLater(self._reactor, 0, loop.cancel)
            # Whoever ends the program next must not cut off what was written last, such as the
            # ends of links over TCP: it leaves between two turns of the reactor.
            await deferLater(self._reactor, 0)

    def whenRegistered(self, isPatient: bool = True) -> Deferred[MainConnectionState]:
        """
        Fires when this peer is registered, at once if it is.

        @param isPatient: Wait while the service cannot be reached; otherwise the first failed
            attempt fails the Deferred. What another attempt cannot mend always does.
        """
        waiting: Deferred[MainConnectionState] = Deferred(self._forget)
        if self.state is not None:
            waiting.callback(self.state)
        elif self._finalReason is not None:
            waiting.errback(self._finalReason)
        else:
            self._waiting.append((waiting, isPatient))
        return waiting

    async def setAccepting(self, accepts: bool) -> None:
        """
        From now on others may, or may not, ask for this peer.
        """
        self._accepts = accepts
        await self.refresh()

    async def refresh(self) -> None:
        """
        Register again over the same main connection, if there is one: what the service gave is good
        for a while only.
        """
        state = self.state
        if state is not None:
            registered = await self._register(state.client, state.ports)
            if self.state is state:
                self.state = attrs.evolve(state, registered=registered)

    def mainConnectionLost(self, reason: Exception) -> None:
        """
        A main connection is gone: the one in use, or an earlier one that took long to close.
        """
        if self.state is not None and not self.state.client.isRegistered:
            self._lose(reason)

    def _lose(self, reason: Exception) -> None:
        state, self.state = self.state, None
        if state is None:
            return
        state.assist.stop()
        state.ports.release()
        if isinstance(reason, PeerReplaced):
            # Whoever took our place has our key: to come back would only take it from him again.
            self._finalReason = reason
        self._changed(
            Unregistered(
                error=reason, isMendable=not isinstance(reason, (PeerReplaced, PeerClosed))
            )
        )
        lost, self._lost = self._lost, None
        if lost is not None:
            lost.callback(None)

    def _moved(self, hosts: tuple[str, ...]) -> None:
        """
        This machine has other addresses than it had: register from them, and at once.
        """
        self._interfacesChanged(hosts)
        # Without any, the old ones may come back, and the main connection with them.
        if self.state is not None and hosts and set(hosts) != set(self.state.hosts):
            self.state.client.goodbye("the peer registers from another address")
            self._lose(RendezvousUnreachable("this machine has other addresses than before"))
        if self._pause is not None and self._pause.active():
            self._pause.reset(0)

    # --- trying ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        policy = backoffPolicy(self._config.initialReconnectDelay, self._config.maxReconnectDelay)
        failures = 0
        while True:
            try:
                state = await self._connect()
            except HolepunchError as error:
                self._failed(error)
                failures += 1
            except (CancelledError, ConnectingCancelledError):
                raise
            except Exception as error:
                self._log.failure("bug: a registration failed in an unforeseen way")
                self._failed(HolepunchError(f"a bug: {error!r}"))
                failures += 1
            else:
                failures = 0
                await self._stay(state)
            if self._finalReason is not None:
                return
            pausing: Deferred[None] = Deferred(self._cancelPause)
            self._pause = self._reactor.callLater(policy(failures), pausing.callback, None)
            await pausing

    def _failed(self, error: HolepunchError) -> None:
        if isinstance(error, LoginFailed):
            # The password will not become right, and each try counts against the user.
            self._finalReason = error
        isMendable = isinstance(error, (RendezvousUnreachable, NoLocalPort))
        self._changed(Unregistered(error=error, isMendable=isMendable))
        self._settle(error, always=not isMendable)

    async def _stay(self, state: MainConnectionState) -> None:
        self.state = state
        lost = self._lost = Deferred()
        self._changed(state)
        self._settle(state, always=True)
        await lost

    def _cancelPause(self, pausing: Deferred[None]) -> None:
        if self._pause is not None:
            self._pause.cancel()

    async def _connect(self) -> MainConnectionState:
        hosts = self._watch.look()
        ports = LocalPorts.open(self._reactor, hosts, self._demultiplexer).retain()
        try:
            client = await connectRendezvous(
                self._reactor,
                self._location,
                self._identity,
                self._events,
                known=self._known,
                bindAddress=self._bindAddress(ports),
            )
            try:
                registering = Deferred.fromCoroutine(self._loginAndRegister(client, ports))
                registered = await registering.addTimeout(
                    CONNECT_TIMEOUT, self._reactor, self._notAnswered
                )
            except BaseException:
                client.goodbye("registration failed")
                raise
        except BaseException:
            ports.release()
            raise
        assist = AssistClient(
            self._reactor,
            ports,
            oneOfEachHost(registered.assist, limit=1),
            registered.ticket,
            os.urandom,
            self._mapped,
        )
        # Some NATs forget after 20 s.
        assist.askByUDP(repeatInterval=self._config.warmInterval)
        return MainConnectionState(
            client=client, hosts=hosts, ports=ports, assist=assist, registered=registered
        )

    def _notAnswered(self, result: object, seconds: float) -> Registered:
        raise RendezvousUnreachable(
            f"the rendezvous service did not answer the registration within {seconds:g} seconds"
        )

    def _bindAddress(self, ports: LocalPorts) -> object:
        families = [Family.IPV4, Family.IPV6]
        if ":" in self._location.host:
            families.reverse()
        for family in families:
            port = ports.streamPort(family)
            if port is not None:
                return port.bindAddress()
        raise AssertionError("open ports belong to some family")

    async def _loginAndRegister(self, client: RendezvousClient, ports: LocalPorts) -> Registered:
        if self._credentials is not None:
            await client.login(self._credentials)
        return await self._register(client, ports)

    async def _register(self, client: RendezvousClient, ports: LocalPorts) -> Registered:
        return await client.register(
            name=self._name,
            accepts=self._accepts,
            policy=self._policy,
            candidates=self._sources.announced(ports, Transport),
        )

    # --- those who wait -------------------------------------------------------------------------

    def _settle(self, outcome: MainConnectionState | HolepunchError, *, always: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred, isPatient in waiting:
            if isPatient and not always:
                self._waiting.append((deferred, isPatient))
            elif isinstance(outcome, MainConnectionState):
                deferred.callback(outcome)
            else:
                deferred.errback(outcome)

    def _forget(self, cancelled: Deferred[MainConnectionState]) -> None:
        self._waiting = [each for each in self._waiting if each[0] is not cancelled]
