"""
What the main connections and assist listeners of one service share.

Owns: the clock, the registry and the L{Switchboard}; the numbers of the main connections; the way
of an effect to its connection.
Knows nothing of: sockets, AMP, STUN.
Driven by: L{MainConnection<holepunch.rendezvous.server.MainConnection>} and
L{Assist<holepunch.rendezvous.assist.Assist>}.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.identity import PeerID
from holepunch.interfaces import IRegistry
from holepunch.rendezvous.authentication import Authority
from holepunch.rendezvous.complaints import Complaints
from holepunch.rendezvous.limits import AddressCounts, Limits
from holepunch.rendezvous.mailbox import Mailboxes
from holepunch.rendezvous.registry import MemoryRegistry, Observation, Registration
from holepunch.rendezvous.relaygrant import RelayGrant
from holepunch.rendezvous.switchboard import Effect, Observed, Switchboard

KEEPALIVE_INTERVAL = 10.0
RelayGranter = Callable[[Registration], RelayGrant | None]
_OBSERVATIONS = 8


class ILineToPeer(Protocol):
    """
    What the exchange needs of a main connection.
    """

    registration: Registration | None

    def deliver(self, effect: Effect) -> None:
        """
        Carry out an effect that is meant for this connection.
        """

    def passPost(self, nameplate: int, body: bytes) -> None:
        """
        The other end of a mailbox says something.
        """

    def passClose(self, nameplate: int, text: str) -> None:
        """
        A mailbox was closed.
        """

    def hangUp(self, text: str, isReplaced: bool = False) -> None:
        """
        Close, with a sentence for people.

        @param isReplaced: Another connection has taken the place of this one.
        """


class Exchange:
    """
    The shared state of one rendezvous service.

    @ivar assist: The assist listeners that peers are told of, the primary one first.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        registry: IRegistry | None = None,
        limits: Limits | None = None,
        keepaliveInterval: float = KEEPALIVE_INTERVAL,
        assist: Sequence[TransportAddress] = (),
        randomBytes: Callable[[int], bytes] = os.urandom,
        relay: RelayGranter | None = None,
        relayHosts: Sequence[str] = (),
        authority: Authority | None = None,
    ) -> None:
        """
        @param authority: Decides who is a user; C{None} lets everybody register.
        @param relay: Gives a peer leave to use the relay; C{None} where there is none.
        @param relayHosts: The IP addresses of a relay that does not tell us of its allocations.
        """
        self.clock = clock
        self.limits = limits if limits is not None else Limits()
        self.registry: IRegistry = registry if registry is not None else MemoryRegistry()
        self.switchboard = Switchboard(self.limits, randomBytes)
        self.mailboxes = Mailboxes(randomBytes)
        self.authority = authority
        self.keepaliveInterval = float(keepaliveInterval)
        self.assist = tuple(assist)
        self.complaints = Complaints(clock)
        self.addresses = AddressCounts(self.limits.connectionsPerAddress)
        self._lines: dict[int, ILineToPeer] = {}
        self._numbers = itertools.count(1)
        self._timer: IDelayedCall | None = None
        self._relay: RelayGranter | None = None
        self._isFlushing = False
        if relay is not None:
            self.offerRelay(relay, relayHosts)
        self._stopped: Deferred[None] | None = None

    @property
    def connectionCount(self) -> int:
        """
        How many main connections there are, registered or not.
        """
        return len(self._lines)

    def attach(self, line: ILineToPeer) -> int:
        """
        A main connection is there; it gets a number.
        """
        number = next(self._numbers)
        self._lines[number] = line
        return number

    def detach(self, number: int, registration: Registration | None) -> None:
        """
        A main connection is gone.
        """
        del self._lines[number]
        if registration is not None:
            self._entered(self.registry.unregister, registration)
        for nameplate, other in self.mailboxes.connectionLost(number):
            self._passClose(nameplate, other, "the other side of the invitation has gone")
        self.switchboard.connectionLost(number)
        self.flush()
        self._checkStopped()

    def lineOf(self, number: int) -> ILineToPeer | None:
        """
        A main connection by its number, if it is still there.
        """
        return self._lines.get(number)

    def closeMailbox(self, nameplate: int, number: int, text: str) -> None:
        """
        A peer closes a mailbox; whoever is at its other end is told why.
        """
        other = self.mailboxes.close(nameplate, number)
        if other is not None:
            self._passClose(nameplate, other, text)

    def _passClose(self, nameplate: int, number: int, text: str) -> None:
        line = self._lines.get(number)
        if line is not None:
            line.passClose(nameplate, text)

    def replace(self, number: int) -> None:
        """
        A peer has registered over another main connection than this one.
        """
        line = self._lines.get(number)
        if line is not None:
            line.hangUp("another program has registered with the same identity", isReplaced=True)

    def keyFor(self, username: str) -> bytes | None:
        """
        The key for an assist request's MESSAGE-INTEGRITY, if its ticket is good.
        """
        return self.switchboard.keyFor(username, self.clock.seconds())

    def observe(self, username: str, transport: Transport, address: TransportAddress) -> None:
        """
        An assist request with a good ticket came from C{address}.
        """
        self.switchboard.observe(username, transport, address, self.clock.seconds())
        self.flush()

    def offerRelay(self, relay: RelayGranter, hosts: Sequence[str] = ()) -> None:
        """
        From now on there is a relay.

        @param hosts: Its IP addresses, where it does not tell us of its allocations.
        """
        self._relay = relay
        self.switchboard.offerRelay(hosts)

    def relayGrantFor(self, registration: Registration) -> RelayGrant | None:
        """
        Leave to use the relay, if there is one.
        """
        return None if self._relay is None else self._relay(registration)

    def relayAllocated(self, peerID: PeerID, relayed: TransportAddress) -> None:
        """
        The relay has an allocation of a peer: the others in its sessions may be told at once.
        """
        for number, line in self._lines.items():
            if line.registration is not None and line.registration.peerID == peerID:
                self.switchboard.relayed(number, relayed)
        self.flush()

    def flush(self) -> None:
        """
        Carry out what the switchboard wants done.
        """
        if self._isFlushing:
            return
        self._isFlushing = True
        try:
            while effects := self.switchboard.takeEffects():
                for effect in effects:
                    self._carryOut(effect)
        finally:
            self._isFlushing = False
        self._arm()

    def stop(self, text: str) -> Deferred[None]:
        """
        Say goodbye to every peer.

        @return: Fires when the last main connection is closed.
        """
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        for line in list(self._lines.values()):
            line.hangUp(text)
        self._checkStopped()
        return stopped

    def _checkStopped(self) -> None:
        if self._stopped is None or self._lines:
            return
        stopped, self._stopped = self._stopped, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        stopped.callback(None)

    def _carryOut(self, effect: Effect) -> None:
        line = self._lines.get(effect.connection)
        if line is None:
            # A registry may know a connection that is gone: its sessions end here.
            self.switchboard.connectionLost(effect.connection)
        elif isinstance(effect, Observed):
            self._observed(line, effect.observation)
        else:
            line.deliver(effect)

    def _observed(self, line: ILineToPeer, observation: Observation) -> None:
        registration = line.registration
        if registration is None:
            return
        others = [
            each
            for each in registration.observations
            if (each.transport, each.address) != (observation.transport, observation.address)
        ]
        recent = (*others, observation)[-_OBSERVATIONS:]
        line.registration = attrs.evolve(registration, observations=recent)
        self._entered(self.registry.update, line.registration)

    def _entered(self, enter: Callable[[Registration], object], registration: Registration) -> None:
        def failed(failure: Failure) -> None:
            self._log.failure("the registry failed", failure)

        entered: Deferred[object] = maybeDeferred(enter, registration)
        entered.addErrback(failed)

    def _arm(self) -> None:
        timeoutAt = self.switchboard.nextTimeout()
        if self._timer is None and timeoutAt is not None:
            delay = max(0.0, timeoutAt - self.clock.seconds())
            self._timer = self.clock.callLater(delay, self._timedOut)

    def _timedOut(self) -> None:
        # Sessions that ended by themselves leave the timer early, never late.
        self._timer = None
        self.switchboard.handleTimeout(self.clock.seconds())
        self.flush()
