"""
The allocation of this peer at the relay: one, shared by all its sessions.

UDP is tried first, and TCP and TLS after a moment without an answer; the first that has an
allocation wins. What is to be sent before that goes by all that are under way.

Owns: the ways to the relay, which one is used, how long the allocation is kept, whose a relayed
datagram is.
Knows nothing of: sessions; checks.
Driven by: L{holepunch.peer.sessions}, L{holepunch.peer.relayedpath}, the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, HolepunchError, MalformedMessage
from holepunch.peer.events import PeerEvent, RelayNews, RelayTold
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.relayway import RelayWay, wayTo
from holepunch.peer.resolving import resolve
from holepunch.rendezvous.relaygrant import RelayGrant, RelayServer
from holepunch.stun import AttributeType, MessageClass, decode, looksLikeStun

TAG_SIZE = 4

_HEAD_START = 0.4
_LINGER = 10.0


class RelayUser(Protocol):
    """
    What uses the allocation: a relayed path.

    @ivar tag: What its data begins with: two links between the same peers share both relayed
        addresses.
    """

    tag: bytes

    def allocated(self, relayed: TransportAddress) -> None:
        """
        We can be reached there.
        """

    def checkReceived(self, remote: TransportAddress, data: bytes) -> None:
        """
        A message came that looks like STUN.
        """

    def dataReceived(self, remote: TransportAddress, data: bytes) -> None:
        """
        A datagram of the application came, without its tag.
        """

    def relayLost(self, reason: str) -> None:
        """
        There is no allocation any more, or never will be.
        """


class RelayAllocation:
    """
    The allocation, from the first who wants it until a while after the last.

    @ivar relayed: Where we can be reached; C{None} while that is not known.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        grant: RelayGrant,
        ended: Callable[[], None],
        observe: Callable[[PeerEvent], None] = lambda event: None,
    ) -> None:
        """
        @param ended: Called once, when the allocation is gone.
        """
        self._reactor = reactor
        self._grant = grant
        self._ended = ended
        self._observe = observe
        self._ways: list[RelayWay] = []
        self._uris: dict[RelayWay, str] = {}
        self._winner: RelayWay | None = None
        self._servers: list[RelayServer] = []
        self._permitted: set[str] = set()
        self._users: dict[str, RelayUser] = {}
        self._routes: dict[TransportAddress, list[RelayUser]] = {}
        self._call: IDelayedCall | None = None
        self._linger: IDelayedCall | None = None
        self._resolving = 0
        self._isOver = False
        self._reason = "the relay has no address"
        self.relayed: TransportAddress | None = None

    @property
    def isOver(self) -> bool:
        """
        Is it gone?
        """
        return self._isOver

    def start(self) -> None:
        """
        Ask for the allocation.
        """
        for uri in self._grant.servers:
            self._addServer(uri)
        self._keepForNow()
        self._tryNext()

    def _addServer(self, uri: str) -> None:
        try:
            self._servers.append(RelayServer.parse(uri))
        except BadAddress as error:
            self._reason = str(error)
            self._tell(RelayNews.FAILED, uri, error)

    def renew(self, grant: RelayGrant) -> None:
        """
        Use another credential from now on.
        """
        self._grant = grant
        for way in self._ways:
            way.renew(grant)

    def verify(self) -> None:
        """
        The network may have changed: make sure that the allocation is still there.
        """
        for way in self._ways:
            way.verify()

    # --- those who use it -------------------------------------------------------------------

    def enter(self, fragment: str, user: RelayUser) -> None:
        """
        From now on, checks for the username C{fragment} go to C{user}.
        """
        if self._isOver:
            user.relayLost(self._reason)
            return
        self._users[fragment] = user
        self._cancel(self._linger)
        if self.relayed is not None:
            user.allocated(self.relayed)

    def leave(self, fragment: str, user: RelayUser) -> None:
        """
        C{user} takes nothing more.
        """
        self._users.pop(fragment, None)
        for remote, users in list(self._routes.items()):
            if user in users:
                users.remove(user)
            if not users:
                del self._routes[remote]
        if not self._users and not self._isOver:
            self._keepForNow()

    def addRoute(self, remote: TransportAddress, user: RelayUser) -> None:
        """
        What comes from C{remote} and is meant for C{user} goes there.
        """
        users = self._routes.setdefault(remote, [])
        if user not in users:
            users.insert(0, user)

    def permit(self, host: str) -> None:
        """
        Let a host send to us.
        """
        self._permitted.add(host)
        for way in self._used:
            way.permit(host)

    def bindChannel(self, remote: TransportAddress) -> None:
        """
        Much will go to and fro.
        """
        for way in self._used:
            way.bindChannel(remote)

    def send(self, remote: TransportAddress, data: bytes) -> None:
        """
        Send a datagram.
        """
        for way in self._used:
            way.send(remote, data)

    def close(self, reason: str) -> None:
        """
        Give it up.
        """
        if self._isOver:
            return
        self._isOver = True
        self._reason = reason
        self._cancel(self._linger)
        self._cancel(self._call)
        ways, self._ways = self._ways, []
        for way in ways:
            way.close()
        users, self._users = self._users, {}
        for user in users.values():
            user.relayLost(reason)
        self._ended()

    @property
    def _used(self) -> tuple[RelayWay, ...]:
        return tuple(self._ways) if self._winner is None else (self._winner,)

    def _keepForNow(self) -> None:
        self._cancel(self._linger)
        self._linger = self._reactor.callLater(
            _LINGER, self.close, "the relay is not needed any more"
        )

    def _cancel(self, call: IDelayedCall | None) -> None:
        if call is not None and call.active():
            call.cancel()

    # --- ways -------------------------------------------------------------------------------

    def _tryNext(self) -> None:
        self._cancel(self._call)
        if self._isOver or self._winner is not None:
            return
        if self._servers:
            server = self._servers.pop(0)
            self._resolving += 1
            if self._servers:
                self._call = self._reactor.callLater(_HEAD_START, self._tryNext)
            resolver: Any = self._reactor
            found = Deferred.fromCoroutine(resolve(resolver, server.host, server.port))
            found.addCallbacks(self._open, self._notResolved, (server,), errbackArgs=(server,))
        elif not self._ways and not self._resolving:
            self.close(self._reason)

    def _open(self, address: TransportAddress, server: RelayServer) -> None:
        self._resolving -= 1
        if self._isOver or self._winner is not None:
            return
        way = wayTo(server)(
            self._reactor,
            address,
            self._grant,
            allocated=self._allocated,
            received=self._received,
            ended=self._wayEnded,
        )
        self._ways.append(way)
        self._uris[way] = server.format()
        self._tell(RelayNews.ASKED, server.format())
        # The other side's allocation is at the same relay.
        for host in {address.host, *self._permitted}:
            way.permit(host)
        way.start()

    def _notResolved(self, failure: Failure, server: RelayServer) -> None:
        self._resolving -= 1
        failure.trap(HolepunchError)
        self._reason = str(failure.value)
        self._tell(RelayNews.FAILED, server.format(), failure.value)
        self._tryNext()

    def _allocated(self, way: RelayWay, relayed: TransportAddress) -> None:
        if self._winner is not None:
            way.close()
            return
        self._winner = way
        self.relayed = relayed
        self._tell(RelayNews.ALLOCATED, self._uris[way])
        self._cancel(self._call)
        others = [each for each in self._ways if each is not way]
        self._ways = [way]
        for other in others:
            other.close()
        for user in tuple(self._users.values()):
            user.allocated(relayed)

    def _wayEnded(self, way: RelayWay, reason: HolepunchError) -> None:
        self._reason = str(reason)
        if way in self._ways:
            self._ways.remove(way)
        news = RelayNews.LOST if way is self._winner else RelayNews.FAILED
        self._tell(news, self._uris[way], reason)
        if way is self._winner:
            self.close(self._reason)
        else:
            self._tryNext()

    def _tell(self, news: RelayNews, server: str, error: BaseException | None = None) -> None:
        self._observe(
            RelayTold(
                at=self._reactor.seconds(),
                news=news,
                server=server,
                relayed=self.relayed,
                reason="" if error is None else str(error),
                error="" if error is None else type(error).__name__,
            )
        )

    def _received(self, remote: TransportAddress, data: bytes) -> None:
        if not looksLikeStun(data):
            tag = data[:TAG_SIZE]
            for user in self._routes.get(remote, ()):
                if user.tag == tag:
                    user.dataReceived(remote, data[TAG_SIZE:])
                    return
            return
        try:
            message = decode(data)
        except MalformedMessage:
            return
        if message.messageClass is MessageClass.REQUEST:
            username = message.get(AttributeType.USERNAME) or ""
            asked = self._users.get(username.partition(":")[0])
            if asked is not None:
                asked.checkReceived(remote, data)
        else:
            for user in tuple(self._routes.get(remote, ())):
                user.checkReceived(remote, data)
