"""
C{twistd holepunch}: the options of the rendezvous service, and the service made from them.

Owns: reading the command line and the configuration file.
Knows nothing of: how the service works.
Driven by: C{twistd}, by way of C{twisted/plugins/holepunch_plugin.py}.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from twisted.application.service import IService
from twisted.cred.strcred import AuthOptionMixin, InvalidAuthType, makeChecker
from twisted.internet.endpoints import serverFromString
from twisted.python import usage

from holepunch.address import TransportAddress
from holepunch.errors import BadAddress, CannotListen, HolepunchError
from holepunch.identity import Identity
from holepunch.interfaces import INameOwners, IRegistry
from holepunch.rendezvous.authentication import SUPPORTED, Authority
from holepunch.rendezvous.exchange import KEEPALIVE_INTERVAL
from holepunch.rendezvous.fileregistry import FileRegistry
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.nameowners import NameOwners, NameOwnersFile
from holepunch.rendezvous.registry import MemoryRegistry
from holepunch.rendezvous.relayoptions import RelayOptionsMixin, makeRelay, relayDefaults
from holepunch.rendezvous.service import DEFAULT_ASSIST, DEFAULT_MAIN, RendezvousService
from holepunch.tls import CertifiedTLS

_SECTION = "holepunch"
_ASSIST_PORT = 3478
_IDENTITY = "rendezvous.pem"


class Arguments(usage.Options, AuthOptionMixin, RelayOptionsMixin):
    """
    What C{twistd holepunch} understands, as words: on the command line and in a file.
    """

    synopsis = "[options]"
    longdesc = (
        "Runs a holepunch rendezvous service: introduces peers to each other, and answers STUN "
        "requests over UDP and TCP."
    )
    optParameters = [
        ["identity", "i", None, f"The service's key; made if missing. [default: {_IDENTITY}]"],
        ["registry", None, None, "Where names are kept: memory: or file:PATH. [default: memory:]"],
        ["names", None, None, "A file that keeps which name belongs to which user (--auth)."],
        ["certificate", None, None, "An ordinary certificate (PEM) to show instead of the key."],
        ["private-key", None, None, "The certificate's private key, if it is in another file."],
        ["keepalive", None, None, "Seconds of silence before a peer is pinged. [default: 10]"],
        ["config", "c", None, "A file: [holepunch], then option = value; the command line wins."],
    ]
    supportedInterfaces = SUPPORTED
    optFlags = [["no-anonymous", None, "Answer no STUN requests without a ticket."]]

    def __init__(self) -> None:
        super().__init__()
        self["auth"] = []
        self["main"] = []
        self["assist"] = []
        self["advertise"] = {}
        self["limit"] = {}
        self.update(relayDefaults())

    def opt_main(self, description: str) -> None:
        """
        Endpoint for main connections; TLS is added. May be repeated. [default: tcp:4460]
        """
        self["main"].append(description)

    def opt_auth(self, description: str) -> None:
        """
        Only users may register: a checker, such as scram:FILE; see --help-auth. May be repeated.
        """
        try:
            self["auth"].append(makeChecker(description))
        except InvalidAuthType:
            kind = description.partition(":")[0]
            raise usage.UsageError(f"--auth: there is no {kind}:, see --help-auth") from None
        except Exception as error:
            # It comes from whoever wrote the checker.
            raise usage.UsageError(f"--auth: {error}") from None

    def opt_assist(self, address: str) -> None:
        """
        HOST:PORT for STUN; two of each serve RFC 5780. May be repeated. [default: 0.0.0.0:3478]
        """
        try:
            self["assist"].append(TransportAddress.parse(address, _ASSIST_PORT))
        except BadAddress as error:
            raise usage.UsageError(f"--assist: {error}") from None

    def opt_advertise(self, pair: str) -> None:
        """
        LOCAL-IP=PUBLIC-IP of an assist address that is behind a NAT itself. May be repeated.
        """
        local, _, public = pair.partition("=")
        try:
            self["advertise"][TransportAddress(local, 0).host] = TransportAddress(public, 0).host
        except BadAddress as error:
            raise usage.UsageError(f"--advertise: {error}") from None

    def opt_limit(self, pair: str) -> None:
        """
        NAME=NUMBER: another limit, such as connectionsPerAddress=1000. May be repeated.
        """
        name, _, number = pair.partition("=")
        kinds: dict[str, Any] = {each.name: type(each.default) for each in attrs.fields(Limits)}
        if name not in kinds:
            raise usage.UsageError(f"--limit: {name!r} is none of {', '.join(sorted(kinds))}")
        try:
            value = kinds[name](number)
            Limits(**{name: value})
        except ValueError:
            raise usage.UsageError(f"--limit: {number!r} is no value for {name}") from None
        self["limit"][name] = value


class Options(Arguments):
    """
    The options, read and checked.

    @ivar service: What L{makeService} calls to get the service.
    """

    service: Callable[[], RendezvousService]

    def postOptions(self) -> None:
        """
        Fill in what the configuration file and the defaults say.

        @raise usage.UsageError: Something makes no sense; one sentence.
        """
        if self["config"] is not None:
            fromFile = _read(self["config"])
            self.update({key: fromFile[key] for key in fromFile if not self[key]})
        if self["private-key"] is not None and self["certificate"] is None:
            raise usage.UsageError("--private-key makes no sense without --certificate")
        from twisted.internet import reactor

        try:
            for description in self["main"]:
                serverFromString(reactor, description)
        except (ValueError, TypeError) as error:
            raise usage.UsageError(f"--main: {description!r} is no endpoint: {error}") from None
        if self["names"] is not None and not self["auth"]:
            raise usage.UsageError("--names makes no sense without --auth: names belong to users")
        owners = NameOwners() if self["names"] is None else NameOwnersFile(self["names"])
        registry = openRegistry(self["registry"] or "memory:", owners)
        keepaliveInterval = _seconds(self["keepalive"])
        try:
            identity = Identity.load(self["identity"] or _IDENTITY, create=True)
            certified = None
            if self["certificate"] is not None:
                certified = CertifiedTLS(self["certificate"], self["private-key"])
            authority = Authority(reactor, self["auth"], identity) if self["auth"] else None
        except HolepunchError as error:
            raise usage.UsageError(str(error)) from None
        relay = makeRelay(self, reactor, identity)
        self.service = partial(
            _TwistdService,
            reactor,
            identity,
            main=self["main"] or [DEFAULT_MAIN],
            assist=self["assist"] or [DEFAULT_ASSIST],
            certified=certified,
            registry=registry,
            authority=authority,
            limits=Limits(**self["limit"]),
            keepaliveInterval=keepaliveInterval,
            advertised=self["advertise"],
            allowAnonymous=not self["no-anonymous"],
            relay=relay,
        )


def openRegistry(description: str, owners: INameOwners) -> IRegistry:
    """
    Make the registry that C{--registry} describes.

    @param description: The kind, a colon, and what that kind needs: C{memory:} or C{file:PATH}.
    @param owners: Which names belong to which users.
    @raise usage.UsageError: There is no such kind, or it cannot be used so.
    """
    kind, colon, place = description.partition(":")
    if (kind, colon, place) == ("memory", ":", ""):
        return MemoryRegistry(owners)
    if kind == "file" and place:
        try:
            return FileRegistry(place, owners)
        except HolepunchError as error:
            raise usage.UsageError(f"--registry: {error}") from None
    raise usage.UsageError(f"--registry: {description!r} is neither memory: nor file:PATH")


class _TwistdService(RendezvousService):
    """
    Leaves C{twistd} with a sentence, not a traceback, when it cannot listen.
    """

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except CannotListen as error:
            raise SystemExit(f"twistd holepunch: {error}") from None


def makeService(options: Options) -> IService:
    """
    Make the service that C{twistd} runs.
    """
    return options.service()


def _read(path: str) -> Arguments:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    try:
        with open(path, encoding="utf-8") as opened:
            parser.read_file(opened)
        words = [
            f"--{name}" if not value else f"--{name}={value}"
            for name, lines in parser.items(_SECTION)
            for value in (lines.strip().splitlines() or [""])
        ]
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = " ".join(str(error).split())
        raise usage.UsageError(f"--config: cannot use {path}: {reason}") from None
    arguments = Arguments()
    try:
        arguments.parseOptions(words)
    except usage.UsageError as error:
        raise usage.UsageError(f"{path}: {error}") from None
    if arguments["config"] is not None:
        raise usage.UsageError(f"{path}: a configuration file names no other one")
    return arguments


def _seconds(text: str | None) -> float:
    if text is None:
        return KEEPALIVE_INTERVAL
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise usage.UsageError(f"--keepalive: {text!r} is no number of seconds from 0.1 to 3600")
    return seconds
