"""
The options that the peer commands have in common.

Owns: their names, environment variables and defaults, and what they mean for a peer and a session.
Knows nothing of: the commands.
Driven by: click, by way of the decorators; L{peerOptions} gives each command one L{PeerOptions}.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from holepunch.address import Transport
from holepunch.cli.login import credentialsOf, passwordFileOption, userOption
from holepunch.cli.notice import Notice
from holepunch.cli.output import Output
from holepunch.cli.outputfile import OutputFile
from holepunch.errors import BadName, HolepunchError, UsageError
from holepunch.identity import Identity, PeerID, configurationFile
from holepunch.peer.config import SessionOptions
from holepunch.peer.knownpeers import KnownPeersFile
from holepunch.peer.resolving import checkHostName
from holepunch.punch import TCPFlow
from holepunch.rendezvous.authenticationclient import LoginCredentials
from holepunch.rendezvous.introduction import RelayPolicy
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.registry import checkName

_Command = TypeVar("_Command", bound=Callable[..., Any])


def seconds(text: str) -> float:
    """
    Read a length of time, above zero and not endless.
    """
    try:
        length = float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number of seconds.") from None
    if not 0 < length <= 86400:
        raise click.BadParameter(f"{text} is not above 0 and at most 86400 seconds.")
    return length


def peerName(text: str) -> str:
    """
    Read the name of a peer.
    """
    try:
        return checkName(text)
    except BadName as error:
        raise click.BadParameter(f"{text!r} is no name. {error}") from None


def peerNameOrID(text: str) -> str:
    """
    Read what a peer is asked for by.
    """
    return text if PeerID.looksLike(text) else peerName(text)


@attrs.frozen(kw_only=True)
class PeerOptions:
    """
    What the common options say.

    @ivar rendezvous: C{[ID@]HOST[:PORT]}.
    @ivar transports: What to punch with.
    @ivar relay: May a relay carry the data?
    @ivar timeout: Seconds from the request to the path.
    @ivar trace: Where to write every event.
    @ivar credentials: Who logs in, where the service has users.
    """

    rendezvous: str
    transports: frozenset[Transport] = frozenset(Transport)
    relay: RelayPolicy = RelayPolicy.AUTO
    tcpFlow: TCPFlow = TCPFlow.SIMULTANEOUS
    timeout: float = 30.0
    identity: Path
    isJSON: bool = False
    verbosity: int = 0
    trace: Path | None = None
    credentials: LoginCredentials | None = None

    @classmethod
    def read(
        cls,
        *,
        rendezvous: str | None,
        transport: str,
        tcpFlow: str,
        relay: str,
        user: str | None = None,
        passwordFile: Path | None = None,
        **others: Any,
    ) -> PeerOptions:
        """
        Check what click cannot.

        @raise UsageError: Something makes no sense; the sentence says what to write instead.
        """
        location = readRendezvous(rendezvous)
        return cls(
            rendezvous=str(location),
            transports=frozenset(Transport if transport == "auto" else {Transport(transport)}),
            relay=RelayPolicy(relay),
            tcpFlow=TCPFlow(tcpFlow),
            credentials=credentialsOf(user, passwordFile),
            **others,
        )

    def sessionOptions(self) -> SessionOptions:
        """
        How a session is to be punched.
        """
        return SessionOptions(
            transports=self.transports,
            tcpFlow=self.tcpFlow,
            timeout=self.timeout,
            relay=self.relay,
        )

    def streamOptions(self) -> SessionOptions:
        """
        How a session for a stream is to be punched.
        """
        return self.sessionOptions()

    @property
    def knownServices(self) -> Path:
        """
        The file of known services: it lies beside the identity.
        """
        return self.identity.with_name("known_services")

    @property
    def knownPeers(self) -> KnownPeersFile:
        """
        The file of known peers, in the same place.
        """
        return KnownPeersFile(self.identity.with_name("known_peers"))


def readRendezvous(text: str | None) -> ServiceLocation:
    """
    Read C{--rendezvous}.

    @raise UsageError: It is not given, or makes no sense.
    """
    if not text:
        raise UsageError(
            "no rendezvous service: give --rendezvous HOST, or set HOLEPUNCH_RENDEZVOUS"
        )
    try:
        location = ServiceLocation.parse(text)
        checkHostName(location.host)
    except HolepunchError as error:
        raise UsageError(f"--rendezvous: {error}") from None
    if location.port == 0:
        raise UsageError("--rendezvous: port 0 is nobody's")
    return location


def loadIdentity(file: Path, output: Output) -> Identity:
    """
    Read an identity, or make it where there is none, and say so.

    @raise BadIdentity: The file cannot be used.
    """
    isNew = not os.path.exists(file)
    identity = Identity.load(file, create=True)
    if isNew:
        output.tell(
            Notice(
                event="identity",
                text=f"made a new identity in {file}",
                fields={"peer": identity.peerID, "file": file},
            )
        )
    return identity


# --- decorators ---------------------------------------------------------------------------------


peerArgument = click.argument("peer", type=peerNameOrID)

nameOption = click.option(
    "--name", type=peerName, metavar="NAME", help="A name by which other peers find this one."
)

jsonOption = click.option("--json", "isJSON", is_flag=True, help="Speak JSON lines, for programs.")

verboseOption = click.option(
    "-v", "--verbose", "verbosity", count=True, help="Tell more; twice, each step."
)

timeoutOption = click.option(
    "--timeout",
    type=seconds,
    metavar="SECONDS",
    default=30.0,
    show_default=True,
    help="How long to look for a path.",
)

rendezvousOption = click.option(
    "--rendezvous",
    metavar="[ID@]HOST[:PORT]",
    envvar="HOLEPUNCH_RENDEZVOUS",
    show_envvar=True,
    help="The rendezvous service that both peers use; ID is the key that it must show.",
)

transportOption = click.option(
    "--transport",
    type=click.Choice(["auto", "tcp", "udp"]),
    default="auto",
    show_default=True,
    help="Which transport protocols to use.",
)

identityOption = click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HOLEPUNCH_IDENTITY",
    default=lambda: configurationFile("identity.pem"),
    show_default="identity.pem in your configuration directory",
    show_envvar=True,
    help="The file with this peer's key; made if missing.",
)

_PEER_OPTIONS = (
    rendezvousOption,
    transportOption,
    click.option(
        "--tcp-flow",
        "tcpFlow",
        type=click.Choice([flow.value for flow in TCPFlow]),
        default=TCPFlow.SIMULTANEOUS.value,
        show_default=True,
        help="Connect from both sides at once, or from one after the other.",
    ),
    click.option(
        "--relay",
        type=click.Choice(["auto", "never", "only"]),
        default="auto",
        show_default=True,
        help="Let a relay carry the data until there is a direct path, or always.",
    ),
    timeoutOption,
    identityOption,
    userOption,
    passwordFileOption,
    jsonOption,
    verboseOption,
    click.option(
        "--trace",
        type=OutputFile(),
        help="Write every event to this file, which holepunch explain reads.",
    ),
)
_NAMES = (
    *("rendezvous", "transport", "tcpFlow", "relay", "timeout"),
    *("identity", "isJSON", "verbosity", "trace", "user", "passwordFile"),
)


def peerOptions(command: _Command) -> _Command:
    """
    Add the common options; the command gets them as its keyword C{options}.
    """

    @functools.wraps(command)
    def withOptions(**values: Any) -> Any:
        common = {name: values.pop(name) for name in _NAMES}
        try:
            return command(options=PeerOptions.read(**common), **values)
        except UsageError as error:
            raise click.UsageError(str(error)) from None

    decorated: Any = withOptions
    for option in reversed(_PEER_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
