"""
The options of C{twistd holepunch} that are about a relay, and the relay made from them.

Owns: their names, and what they mean together.
Knows nothing of: the other options, but the certificate.
Driven by: L{holepunch.tap}.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from twisted.python import usage

from holepunch.address import TransportAddress, isUsableHost
from holepunch.errors import BadAddress, HolepunchError
from holepunch.identity import Identity
from holepunch.rendezvous.relay import DEFAULT_REALM, ExternalRelay, RelayService
from holepunch.rendezvous.relaygrant import RelayServer
from holepunch.rendezvous.relaytls import RelayTLS
from holepunch.turn import RelayLimits
from holepunch.turn.peerpolicy import parseNetworks
from holepunch.turn.ports import HIGHEST, LOWEST

_LONGEST_SECRET = 4096
_EMBEDDED_ONLY = ("relay-tls", "relay-ports", "relay-allow", "relay-quota")


class RelayOptionsMixin:
    """
    The options, read one by one.
    """

    optParameters: ClassVar[list[list[Any]]] = [
        ["relay-secret", None, None, "A file with the secret that credentials are made with."],
        ["relay-realm", None, None, f"The relay's realm. [default: {DEFAULT_REALM}]"],
        ["relay-ports", None, None, f"LOW-HIGH, its ports. [default: {LOWEST}-{HIGHEST}]"],
    ]

    def opt_relay(self, address: str) -> None:
        """
        HOST:PORT of the embedded relay, UDP and TCP; HOST is public. May be repeated.
        """
        try:
            parsed = TransportAddress.parse(address)
        except BadAddress as error:
            raise usage.UsageError(f"--relay: {error}") from None
        if not isUsableHost(parsed.host):
            raise usage.UsageError(
                f"--relay: {parsed.host} is no address that peers can reach: name the public one"
            )
        self._add("relay", parsed)

    def opt_relay_tls(self, port: str) -> None:
        """
        A port for TLS on the hosts of --relay, such as 443. May be repeated.
        """
        self._add("relay-tls", _port("--relay-tls", port))

    def opt_relay_allow(self, network: str) -> None:
        """
        A network such as 10.0.0.0/8 that may be relayed to though not public. May be repeated.
        """
        try:
            parseNetworks([network])
        except BadAddress as error:
            raise usage.UsageError(f"--relay-allow: {error}") from None
        self._add("relay-allow", network)

    def opt_relay_quota(self, pair: str) -> None:
        """
        NAME=NUMBER: a limit such as bandwidth=125000 (bytes a second). May be repeated.
        """
        name, _, number = pair.partition("=")
        kinds: dict[str, Any] = {
            each.name: type(each.default) for each in attrs.fields(RelayLimits)
        }
        if name not in kinds:
            raise usage.UsageError(f"--relay-quota: {name!r} is none of {', '.join(sorted(kinds))}")
        try:
            value = kinds[name](number)
            RelayLimits(**{name: value})
        except ValueError:
            raise usage.UsageError(f"--relay-quota: {number!r} is no value for {name}") from None
        options: Any = self
        options["relay-quota"][name] = value

    def opt_relay_external(self, uri: str) -> None:
        """
        turn:HOST:PORT[?transport=tcp] of another TURN server. May be repeated.
        """
        try:
            self._add("relay-external", RelayServer.parse(uri))
        except BadAddress as error:
            raise usage.UsageError(f"--relay-external: {error}") from None

    def _add(self, name: str, value: object) -> None:
        options: Any = self
        options[name].append(value)


def relayDefaults() -> dict[str, Any]:
    """
    What the options that may be repeated are before any was given.
    """
    return {
        "relay": [],
        "relay-tls": [],
        "relay-allow": [],
        "relay-quota": {},
        "relay-external": [],
    }


def makeRelay(
    options: Mapping[str, Any], reactor: Any, identity: Identity
) -> RelayService | ExternalRelay | None:
    """
    Make the relay that the options ask for; C{None} where they ask for none.

    @raise usage.UsageError: They make no sense together; one sentence.
    """
    if not options["relay"]:
        for name in _EMBEDDED_ONLY:
            if options[name]:
                raise usage.UsageError(f"--{name} makes no sense without --relay")
    if options["relay-external"]:
        if options["relay"]:
            raise usage.UsageError("--relay and --relay-external: choose one of them")
        return _makeExternal(options, reactor)
    if not options["relay"]:
        if options["relay-secret"] or options["relay-realm"]:
            raise usage.UsageError("--relay-secret and --relay-realm need --relay")
        return None
    tls = None
    if options["relay-tls"]:
        try:
            tls = RelayTLS(identity, options["certificate"], options["private-key"])
        except HolepunchError as error:
            raise usage.UsageError(str(error)) from None
    secret = None
    if options["relay-secret"] is not None:
        secret = _secret(options["relay-secret"], mayMake=True)
    return RelayService(
        reactor,
        options["relay"],
        secret=secret,
        realm=options["relay-realm"] or DEFAULT_REALM,
        limits=RelayLimits(**options["relay-quota"]),
        ports=_ports(options["relay-ports"]),
        allowed=options["relay-allow"],
        advertised=options["advertise"],
        tlsPorts=options["relay-tls"],
        tls=tls,
    )


def _makeExternal(options: Mapping[str, Any], reactor: Any) -> ExternalRelay:
    if options["relay-secret"] is None:
        raise usage.UsageError(
            "--relay-external needs --relay-secret: a file with that server's static-auth-secret"
        )
    servers = options["relay-external"]
    hosts = [host for server in servers for host in _resolved(server.host)]
    secret = _secret(options["relay-secret"], mayMake=False)
    return ExternalRelay(reactor, servers, secret, hosts, options["relay-realm"] or "")


def _resolved(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise usage.UsageError(f"--relay-external: no host has the name {host}") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _secret(path: str, mayMake: bool) -> bytes:
    try:
        if mayMake and not os.path.exists(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as made:
                made.write(secrets.token_hex(32) + "\n")
        with open(path, "rb") as opened:
            secret = opened.read(_LONGEST_SECRET + 1).strip()
    except OSError as error:
        raise usage.UsageError(f"--relay-secret: cannot use {path}: {error.strerror}") from None
    if not secret or len(secret) > _LONGEST_SECRET:
        raise usage.UsageError(f"--relay-secret: {path} holds no secret")
    return secret


def _port(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536):
        raise usage.UsageError(f"{option}: {text!r} is no port (1 to 65535)")
    return int(text)


def _ports(text: str | None) -> tuple[int, int]:
    if text is None:
        return LOWEST, HIGHEST
    low, _, high = text.partition("-")
    lowest, highest = _port("--relay-ports", low), _port("--relay-ports", high)
    if lowest > highest:
        raise usage.UsageError(f"--relay-ports: {text!r} is no range such as 50000-50999")
    return lowest, highest
