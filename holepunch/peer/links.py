"""
The links of one peer: one for each peer that it is connected with, shared by all that use it.

Owns: the table; which link a stream, or a session that goes on, belongs to; the allocation at the
relay.
Knows nothing of: how a session is asked for.
Driven by: L{holepunch.peer.sessions.Sessions}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from holepunch.errors import HolepunchError, SessionRefused
from holepunch.identity import Identity
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.events import Connected, PeerEvent
from holepunch.peer.link import Link, LinkHost, LinkPath
from holepunch.peer.pathchooser import PathKind
from holepunch.peer.reactor import PeerReactor
from holepunch.peer.relayallocation import RelayAllocation
from holepunch.peer.session import Session
from holepunch.rendezvous.introduction import Introduction, RelayPolicy, Use
from holepunch.rendezvous.relaygrant import RelayGrant

# What one other peer may cause here without the program hearing of it.
_UNUSED_LINKS = 16
_PATHS = 8

NOTHING_TO_CONTINUE = "the peer has no connection that could go on"


class Links:
    """
    All links.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        identity: Identity,
        config: PeerConfig,
        host: LinkHost,
        observe: Callable[[PeerEvent], None],
    ) -> None:
        self._reactor = reactor
        self._identity = identity
        self._config = config
        self._host = host
        self._observe = observe
        self._links: dict[str, Link] = {}
        self._opening: dict[tuple[str, SessionOptions], list[Deferred[None]]] = {}
        self._relay: RelayAllocation | None = None

    def __iter__(self) -> object:
        return iter(tuple(self._links.values()))

    # --- finding ----------------------------------------------------------------------------

    def find(self, target: str, options: SessionOptions) -> Link | None:
        """
        The link on which a stream to C{target} can be opened.

        @param options: What a session of its own would be asked for with.
        """
        for link in self._links.values():
            introduction = link.introduction
            isMeant = target in (introduction.remote.text, introduction.remoteName)
            # Where the service has no relay, to be content with one says nothing.
            isFit = (
                introduction.use is Use.STREAMS
                and options.relay in (introduction.relay, RelayPolicy.AUTO)
                and introduction.relay in (options.relay, RelayPolicy.NEVER)
                and set(introduction.transports) <= options.transports
            )
            if isMeant and isFit and link.connection is not None and link.connection.isConnected:
                return link
        return None

    def toContinue(self, introduction: Introduction) -> Link:
        """
        The link that an offered session is to continue.

        @raise SessionRefused: There is none with that peer.
        """
        link = self._links.get(introduction.continues or "")
        if link is None or link.remote != introduction.remote:
            raise SessionRefused(NOTHING_TO_CONTINUE)
        first = link.introduction
        if introduction.use is not first.use or (
            first.relay is RelayPolicy.ONLY and introduction.relay is not RelayPolicy.ONLY
        ):
            raise SessionRefused("a connection goes on in the way in which it began")
        if len(link.switch.members) >= _PATHS:
            raise SessionRefused("the connection has paths enough")
        return link

    def mustHaveRoom(self, introduction: Introduction) -> None:
        """
        An offered session may bring about a link, if the same peer has not too many that it does
        not use.

        @raise SessionRefused: It has.
        """
        unused = sum(
            link.remote == introduction.remote
            and link.connection is not None
            and not link.connection.streamCount
            for link in self._links.values()
        )
        if unused >= _UNUSED_LINKS:
            raise SessionRefused("you have too many connections to the peer that you do not use")

    def ofSession(self, session: Session) -> Link | None:
        """
        The link that a session brought about, or continues.
        """
        introduction = session.introduction
        link = self._links.get(introduction.continues or introduction.sessionID)
        # The service names sessions, and with that links: it must not pass one peer off as another.
        return link if link is not None and link.remote == introduction.remote else None

    def knows(self, sessionID: str) -> bool:
        """
        Is there a link that this session brought about? It may have outlived it.
        """
        return sessionID in self._links

    # --- one at a time ----------------------------------------------------------------------

    def begin(self, target: str, options: SessionOptions) -> Deferred[None] | None:
        """
        A session is about to be asked for, which may bring about a link.

        @return: C{None} for whoever comes first, who calls L{ready} in the end; the others wait.
        """
        key = (target, options)
        if key not in self._opening:
            self._opening[key] = []
            return None
        waiting: Deferred[None] = Deferred(self._opening[key].remove)
        self._opening[key].append(waiting)
        return waiting

    def ready(self, target: str, options: SessionOptions) -> None:
        """
        There is a link now, or there will be none.
        """
        for waiting in self._opening.pop((target, options), []):
            waiting.callback(None)

    # --- paths ------------------------------------------------------------------------------

    def pathFound(self, session: Session, path: LinkPath, connected: Connected) -> None:
        """
        A session has found a path for datagrams.
        """
        introduction = session.introduction
        link = self.ofSession(session)
        if link is None:
            if introduction.continues is not None:
                path.close()
                return
            link = self._links[introduction.sessionID] = Link(
                self._reactor,
                self._identity,
                introduction,
                self._config,
                self._host,
                self._observe,
            )
        link.pathFound(path, connected)

    def ended(self, link: Link) -> None:
        """
        A link is over.
        """
        self._links.pop(link.identifier, None)

    def verify(self) -> None:
        """
        There is a main connection again, which may mean anything: make sure of all paths.
        """
        for link in tuple(self._links.values()):
            link.verify()

    def networkChanged(self) -> None:
        """
        This machine has other addresses: trust no path.
        """
        for link in tuple(self._links.values()):
            link.networkChanged()

    def endAll(self, reason: HolepunchError) -> None:
        """
        Close all.
        """
        for link in tuple(self._links.values()):
            link.close(reason)
        if self._relay is not None:
            self._relay.close(str(reason))

    # --- the relay --------------------------------------------------------------------------

    def relay(
        self, grant: RelayGrant | None, policy: RelayPolicy, continues: str | None
    ) -> RelayAllocation | None:
        """
        Our allocation at the relay, begun now if there is none, where one may be used.

        @param continues: The link that a session is for: one way through the relay is enough.
        """
        isUnwanted = RelayPolicy.NEVER in (policy, self._config.relay)
        if grant is None or isUnwanted:
            return None
        link = self._links.get(continues or "")
        if link is not None and link.switch.hasKind(PathKind.RELAYED):
            return None
        relay = self._relay
        if relay is None:
            relay = self._relay = RelayAllocation(
                self._reactor, grant, self._relayEnded, self._observe
            )
            relay.start()
        return relay

    def renewGrant(self, grant: RelayGrant | None) -> None:
        """
        The service has given us leave anew.
        """
        if self._relay is not None and grant is not None:
            self._relay.renew(grant)

    def verifyRelay(self) -> None:
        """
        The network may have changed: is the allocation still there?
        """
        if self._relay is not None:
            self._relay.verify()

    def _relayEnded(self) -> None:
        self._relay = None

    def unexpected(self, failure: Failure) -> None:
        """
        Nobody waits for this.
        """
        if failure.check(HolepunchError) is None:
            self._log.failure("bug: a link failed in an unforeseen way", failure)
