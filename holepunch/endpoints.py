r"""
Endpoint strings: C{holepunch:} for C{twisted.internet.endpoints.clientFromString}
and C{twisted.internet.endpoints.serverFromString}.

Client: C{holepunch:PEER[:rendezvous=…][:identity=…][:known=…][:timeout=…][:transport=…]
[:relay=…][:tcpFlow=…]}, where PEER is a name or peer ID. Server:
C{holepunch:[name=NAME][:rendezvous=…][:identity=…][:known=…][:allow=…][:deny=…]}, where the
last two are names or peer IDs with commas between. Both know C{user=…} and C{passwordFile=…}, for
services that have users. A colon inside a value is written C{\:}. What is not given comes from the
environment variables HOLEPUNCH_RENDEZVOUS, HOLEPUNCH_IDENTITY, HOLEPUNCH_USER and
HOLEPUNCH_PASSWORD_FILE or HOLEPUNCH_PASSWORD, then from the defaults of the command line.

Owns: reading the strings; which endpoints share one peer.
Knows nothing of: how a connection is made.
Driven by: the plugins in C{twisted/plugins/holepunch_endpoints.py}.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from holepunch.address import Transport
from holepunch.errors import PeerClosed, RendezvousUnreachable, UsageError
from holepunch.identity import Identity, PeerID, configurationFile
from holepunch.peer import Peer, SessionOptions
from holepunch.peer.access import AccessList
from holepunch.peer.events import Disconnected, PeerEvent, Registered
from holepunch.peer.knownpeers import KnownPeersFile
from holepunch.punch import TCPFlow
from holepunch.rendezvous.authenticationclient import LoginCredentials, readPassword
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.registry import checkName

_Choice = TypeVar("_Choice", bound=enum.Enum)

_log = Logger()


@attrs.frozen(kw_only=True)
class PeerSettings:
    """
    Which peer an endpoint string asks for; equal settings share one L{Peer}.

    @ivar rendezvous: C{[ID@]HOST[:PORT]}.
    @ivar identity: The identity file; it is made when it is missing.
    @ivar name: What the peer is registered as.
    @ivar known: The file of known peers.
    @ivar allow: Who may connect, by known name or peer ID; C{None} is everybody.
    @ivar deny: Who may not.
    @ivar user: Who logs in, where the service has users.
    @ivar passwordFile: The file with that user's password; without one, the environment has it.
    """

    rendezvous: str
    identity: str
    name: str | None = None
    known: str
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    user: str | None = None
    passwordFile: str | None = None

    @classmethod
    def read(
        cls,
        rendezvous: str | None,
        identity: str | None,
        known: str | None = None,
        user: str | None = None,
        passwordFile: str | None = None,
        **others: Any,
    ) -> PeerSettings:
        """
        Fill in what the string does not say.

        @raise UsageError: Nothing says which rendezvous service to use.
        """
        rendezvous = rendezvous or os.environ.get("HOLEPUNCH_RENDEZVOUS")
        if not rendezvous:
            raise UsageError(
                "no rendezvous service: write rendezvous=HOST, or set HOLEPUNCH_RENDEZVOUS"
            )
        return cls(
            rendezvous=rendezvous,
            identity=identity
            or os.environ.get("HOLEPUNCH_IDENTITY")
            or configurationFile("identity.pem"),
            known=known or configurationFile("known_peers"),
            user=user or os.environ.get("HOLEPUNCH_USER"),
            passwordFile=passwordFile or os.environ.get("HOLEPUNCH_PASSWORD_FILE"),
            **others,
        )

    def makePeer(self, reactor: Any) -> Peer:
        """
        Make the peer; it is stopped with the reactor at the latest.

        @raise UnknownName: A name that is allowed or denied is not known.
        @raise BadCredentials: The user name or the password cannot be used.
        """
        known = KnownPeersFile(self.known)
        peer = Peer(
            reactor,
            Identity.load(self.identity, create=True),
            self.rendezvous,
            name=self.name,
            knownServices=configurationFile("known_services"),
            knownPeers=known,
            authoriser=AccessList(known, self.allow, self.deny),
            credentials=self._credentials(),
            observer=_logLoss,
        )
        reactor.addSystemEventTrigger("before", "shutdown", _stop, peer)
        return peer

    def _credentials(self) -> LoginCredentials | None:
        if self.user is None:
            return None
        if self.passwordFile is not None:
            return LoginCredentials(self.user, readPassword(self.passwordFile))
        password = os.environ.get("HOLEPUNCH_PASSWORD")
        if not password:
            raise UsageError("no password: write passwordFile=FILE, or set HOLEPUNCH_PASSWORD")
        return LoginCredentials(self.user, password)


def _logLoss(event: PeerEvent) -> None:
    """
    Whoever listens waits for a service that cannot be reached: here he learns why.
    """
    if isinstance(event, Disconnected) and event.error != PeerClosed.__name__:
        _log.warn("holepunch: {reason}", reason=event.reason)


def _stop(peer: Peer) -> Deferred[None] | None:
    return peer.stopService() if peer.running else None


@attrs.define
class SharedPeer:
    """
    The peer of all client endpoints with the same settings.

    @ivar hopes: How many of them wait for it to be registered.
    @ivar wasRegistered: Has it ever been?
    """

    peer: Peer
    hopes: int = 0
    wasRegistered: bool = False


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """
    Connects to the peer that a string names. The peer of this program is made at the first use.
    """

    _peers: dict[tuple[int, PeerSettings], SharedPeer] = {}

    def __init__(
        self, reactor: Any, target: str, settings: PeerSettings, options: SessionOptions
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._settings = settings
        self._options = options

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect; see L{PeerClientEndpoint<holepunch.peer.streamendpoints.PeerClientEndpoint>}.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        peer = await self._registeredPeer()
        return await peer.connectEndpoint(self._target, self._options).connect(factory)

    async def _registeredPeer(self) -> Peer:
        """
        The peer, once the service knows it.

        Whoever connects is told of the first attempt that fails. A peer that was never registered
        is stopped then: there is nothing that it should go on trying for.
        """
        key = (id(self._reactor), self._settings)
        shared = self._peers.get(key)
        if shared is None:
            shared = self._peers[key] = SharedPeer(self._settings.makePeer(self._reactor))
        shared.hopes += 1
        try:
            registered = shared.peer.whenRegistered(isPatient=False)
            await registered.addTimeout(self._options.timeout, self._reactor, self._tooLate)
            shared.wasRegistered = True
        finally:
            shared.hopes -= 1
            if not shared.hopes and not shared.wasRegistered:
                self._peers.pop(key, None)
                _stop(shared.peer)
        return shared.peer

    def _tooLate(self, result: object, seconds: float) -> Registered:
        raise RendezvousUnreachable(
            f"the rendezvous service {self._settings.rendezvous} did not answer within"
            f" {seconds:g} seconds"
        )


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """
    Lets other peers connect.
    """

    def __init__(self, reactor: Any, settings: PeerSettings) -> None:
        self._reactor = reactor
        self._settings = settings

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen; see L{PeerServerEndpoint<holepunch.peer.streamendpoints.PeerServerEndpoint>}.
        """
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        peer = self._settings.makePeer(self._reactor)
        try:
            return await peer.listenEndpoint().listen(factory)
        except BaseException:
            # Nobody else knows this peer: it would go on registering.
            if peer.running:
                peer.stopService()
            raise


def parseClient(
    reactor: Any,
    *words: str,
    rendezvous: str | None = None,
    identity: str | None = None,
    timeout: str = "30",
    transport: str = "auto",
    relay: str = RelayPolicy.AUTO.value,
    tcpFlow: str = TCPFlow.SIMULTANEOUS.value,
    known: str | None = None,
    user: str | None = None,
    passwordFile: str | None = None,
    **unknown: str,
) -> ClientEndpoint:
    """
    Make the endpoint of a client string.

    @param words: What has no keyword: the peer to connect to.
    @raise ValueError: A value makes no sense.
    """
    target, *rest = words or ("",)
    if not target:
        raise UsageError("no peer: write holepunch:PEER, with its name or ID")
    _refuseWords(rest)
    _refuse(
        unknown,
        "rendezvous, identity, timeout, transport, relay, tcpFlow, known, user, passwordFile",
    )
    flow = _oneOf(TCPFlow, "tcpFlow", tcpFlow)
    policy = _oneOf(RelayPolicy, "relay", relay)
    transports = frozenset(Transport)
    if transport != "auto":
        transports = frozenset({_oneOf(Transport, "transport", transport, "auto")})
    try:
        seconds = float(timeout)
    except ValueError:
        raise UsageError(f"timeout is a number of seconds, not {timeout!r}") from None
    return ClientEndpoint(
        reactor,
        target,
        PeerSettings.read(rendezvous, identity, known, user, passwordFile),
        SessionOptions(timeout=seconds, transports=transports, relay=policy, tcpFlow=flow),
    )


def parseServer(
    reactor: Any,
    *words: str,
    name: str | None = None,
    rendezvous: str | None = None,
    identity: str | None = None,
    known: str | None = None,
    allow: str | None = None,
    deny: str = "",
    user: str | None = None,
    passwordFile: str | None = None,
    **unknown: str,
) -> ServerEndpoint:
    """
    Make the endpoint of a server string.

    @param words: What has no keyword: a mistake.
    @raise ValueError: A value makes no sense.
    """
    _refuseWords(tuple(filter(None, words)))
    _refuse(unknown, "name, rendezvous, identity, known, allow, deny, user, passwordFile")
    if name is not None:
        checkName(name)
    settings = PeerSettings.read(
        rendezvous,
        identity,
        known,
        user,
        passwordFile,
        name=name,
        allow=None if allow is None else _namesOrIDs(allow),
        deny=_namesOrIDs(deny),
    )
    return ServerEndpoint(reactor, settings)


def _namesOrIDs(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in words:
        if not PeerID.looksLike(word):
            checkName(word)
    return words


def _oneOf(kind: type[_Choice], name: str, text: str, *others: str) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join([*others, *(str(each.value) for each in kind)])
        raise UsageError(f"{name} is one of {known}, not {text!r}") from None


def _refuseWords(words: Sequence[str]) -> None:
    for word in words:
        raise UsageError(
            f"what is {word!r}? A name is written name=NAME, and a colon inside a value \\:, as in"
            " rendezvous=HOST\\:PORT"
        )


def _refuse(unknown: Mapping[str, str], known: str) -> None:
    for word in unknown:
        raise UsageError(f"a holepunch: endpoint string has no {word}=; it knows {known}")
