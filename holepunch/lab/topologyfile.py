"""
Topologies as files, for whatever the short text has no words for.

Owns: the grammar, and where in the file an error is.
Knows nothing of: how the parts fit together (L{holepunch.lab.topology}).
Driven by: C{holepunch lab}, and programs that build labs.

A file is a list of parts, in sections as INI files have them; C{docs/lab.md} describes all keys::

    [link]                      # what the links of all parts below have in common
    latency = 20ms

    [nat home]
    behaviour = home-router     # a name, of which the keys below change details
    udp-timeout = 20s
    address = 31.1.0.1
    inside = 192.168.1.0/24

    [host alice]
    behind = home
    address = 192.168.1.10
    loss = 1%
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from holepunch.errors import BadTopology, UsageError
from holepunch.lab.part import DEFAULT_LINK, HostSpec, InterfaceSpec, LinkSpec, NATSpec
from holepunch.lab.quantity import parseBytes, parseRate, parseSeconds, parseShare
from holepunch.lab.topology import Topology, behaviourNamed
from holepunch.nat import NATBehaviour, Protocol, Service

_SECTION = re.compile(r"\[ *([a-z]+)(?: +([^\]]*?))? *\]")
_ENTRY = re.compile(r"([a-zA-Z-]+)(\s*=\s*)(.*)")
_COMMENT = re.compile(r"(^|\s)[#;].*")
_KINDS = ("link", "host", "interface", "nat")


@attrs.frozen(kw_only=True)
class _Entry:
    """
    One line C{key = value}.

    @ivar column: Where the value begins.
    """

    value: str
    line: int
    column: int


@attrs.define(kw_only=True)
class _Section:
    """
    One section.
    """

    kind: str
    name: str
    line: int
    entries: dict[str, _Entry] = attrs.Factory(dict)


def _yes(text: str) -> bool:
    try:
        return {"yes": True, "no": False}[text]
    except KeyError:
        raise BadTopology(f"expected yes or no, not {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadTopology(f"expected a whole number, not {text!r}") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _services(text: str) -> tuple[Service, ...]:
    try:
        pairs = [word.split(":") for word in _words(text)]
        return tuple(Service(Protocol[name.upper()], int(port)) for name, port in pairs)
    except (ValueError, KeyError, UsageError):
        raise BadTopology(f"expected services such as tcp:443, not {text!r}") from None


def _protocols(text: str) -> tuple[Protocol, ...]:
    try:
        return tuple(Protocol[name.upper()] for name in _words(text))
    except KeyError:
        raise BadTopology(f"expected protocols such as udp, not {text!r}") from None


def _oneOf(kind: type[enum.Enum]) -> Callable[[str], enum.Enum]:
    def read(text: str) -> enum.Enum:
        try:
            return kind(text)
        except ValueError:
            known = ", ".join(each.value for each in kind)
            raise BadTopology(f"expected one of {known}, not {text!r}") from None

    return read


_READERS: dict[Any, Callable[[str], Any]] = {
    bool: _yes,
    int: _whole,
    float: parseSeconds,
    float | None: parseSeconds,
    tuple[Service, ...]: _services,
    tuple[Protocol, ...]: _protocols,
}


def _key(name: str) -> str:
    """
    How the attribute C{name} of a value is written in a file: C{isOneToOne} is C{one-to-one}.
    """
    words = re.findall(r"[A-Z]?[a-z]+", name)
    return "-".join(word.lower() for word in words if word != "is")


def _fields(kind: type) -> dict[str, tuple[str, Callable[[str], Any]]]:
    """
    The keys of a value, each with the attribute's name and what reads it.
    """
    return {
        _key(name): (name, _READERS.get(hint) or _oneOf(hint))
        for name, hint in typing.get_type_hints(kind).items()
    }


_Keys = Mapping[str, tuple[str, Callable[[str], Any]]]
_LINK_KEYS: _Keys = {
    **{key: (key, parseShare) for key in ("loss", "reorder", "duplicate")},
    **{key: (key, parseSeconds) for key in ("latency", "jitter", "queue")},
    "rate": ("rate", parseRate),
    "mtu": ("mtu", parseBytes),
    "black-hole": ("isBlackHole", _yes),
    "loses-fragments": ("losesFragments", _yes),
}
_BEHAVIOUR_KEYS: _Keys = _fields(NATBehaviour)
_PLACE_KEYS: _Keys = {
    "address": ("addresses", _words),
    "behind": ("behind", str),
}
_HOST_KEYS: _Keys = {**_PLACE_KEYS, "decoy": ("isDecoy", _yes)}
_NAT_KEYS: _Keys = {
    **_PLACE_KEYS,
    "inside": ("inside", _words),
    "kernel": ("isKernel", _yes),
    "translates": ("translates", _yes),
}
#: The same details of the firewall for IPv6.
_FIREWALL = "firewall"
_FIREWALL_KEYS: _Keys = {f"{_FIREWALL}-{key}": entry for key, entry in _BEHAVIOUR_KEYS.items()}
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "link": (*_LINK_KEYS,),
    "host": (*_HOST_KEYS, *_LINK_KEYS),
    "interface": ("host", *_PLACE_KEYS, *_LINK_KEYS),
    "nat": (*_NAT_KEYS, "behaviour", _FIREWALL, *_LINK_KEYS, *_BEHAVIOUR_KEYS, *_FIREWALL_KEYS),
}
#: What the values call the keys.
_ATTRIBUTES: Mapping[str, str] = {
    key: name for keys in (_LINK_KEYS, _BEHAVIOUR_KEYS) for key, (name, _) in keys.items()
}


def readTopology(path: str | os.PathLike[str]) -> Topology:
    """
    Read a file.

    @raise BadTopology: It cannot be read, or makes no sense; the message has the line and the
        column, and what was expected there.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise BadTopology(f"{os.fspath(path)}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadTopology(f"{os.fspath(path)}, line {line}: expected text in UTF-8") from None
    return parseTopology(text, os.fspath(path))


def parseTopology(text: str, source: str = "topology") -> Topology:
    """
    Read the text of a file.

    @param source: What errors call it.
    @raise BadTopology: It makes no sense.
    """
    return _Reader(source).read(text)


def _unknownKey(key: str, kind: str) -> str:
    """
    What is said of a key that a section of that kind does not have.
    """
    known = _SECTIONS[kind]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"expected {near[0]}, not {key!r}; " if near else f"{key!r} is none of its keys; "
    told = [each for each in known if each not in _FIREWALL_KEYS]
    further = "" if len(told) == len(known) else f", and attributes with {_FIREWALL}- before them"
    return f"{hint}[{kind}] has {', '.join(told)}{further}"


class _Reader:
    """
    Reads one file.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, text: str) -> Topology:
        """
        Read it all.
        """
        sections = self._sections(text)
        link = DEFAULT_LINK
        hosts: list[HostSpec] = []
        nats: list[NATSpec] = []
        for section in sections:
            if section.kind == "link":
                link = self._link(section, DEFAULT_LINK)
            elif section.kind == "host":
                hosts.append(self._host(section, link))
            elif section.kind == "interface":
                self._addInterface(section, link, hosts)
            else:
                nats.append(self._nat(section, link))
        try:
            return Topology(tuple(hosts), tuple(nats))
        except BadTopology as error:
            # The parts are fine one by one: what does not fit is told by name.
            guilty = [each for each in sections if each.name and repr(each.name) in str(error)]
            if not guilty:
                raise self._error(1, 1, str(error)) from None
            raise self._errorIn(guilty[-1], str(error)) from None

    def _error(self, line: int, column: int, sentence: str) -> BadTopology:
        return BadTopology(f"{self._source}, line {line}, column {column}: {sentence}")

    def _errorIn(self, section: _Section, sentence: str) -> BadTopology:
        """
        The error at the value that the sentence is about, or else at the section's beginning.
        """
        for key, entry in section.entries.items():
            name = _ATTRIBUTES.get(key, key)
            if sentence.startswith(f"{name} "):
                return self._error(entry.line, entry.column, key + sentence[len(name) :])
            for word in _words(entry.value):
                isAddress = "." in word and word in sentence.split()
                if repr(word) in sentence or isAddress:
                    column = entry.column + entry.value.index(word)
                    return self._error(entry.line, column, sentence)
        return self._error(section.line, 1, sentence)

    # --- lines ----------------------------------------------------------------------------------

    def _sections(self, text: str) -> list[_Section]:
        sections: list[_Section] = []
        for number, raw in enumerate(text.splitlines(), 1):
            line = _COMMENT.sub("", raw).rstrip()
            content = line.lstrip()
            column = len(line) - len(content) + 1
            if not content:
                continue
            if content.startswith("["):
                sections.append(self._section(content, number, column))
            elif not sections:
                raise self._error(number, column, "expected a section such as [host alice] first")
            else:
                self._entry(sections[-1], content, number, column)
        if not any(section.kind == "host" for section in sections):
            raise self._error(len(text.splitlines()) + 1, 1, "expected a section [host NAME]")
        return sections

    def _section(self, content: str, line: int, column: int) -> _Section:
        match = _SECTION.fullmatch(content)
        if match is None or match[1] not in _KINDS or (match[1] == "link") == bool(match[2]):
            expected = "expected [link], [host NAME], [interface NAME] or [nat NAME]"
            raise self._error(line, column, f"{expected}, not {content!r}")
        return _Section(kind=match[1], name=match[2] or "", line=line)

    def _entry(self, section: _Section, content: str, line: int, column: int) -> None:
        match = _ENTRY.fullmatch(content)
        if match is None:
            raise self._error(line, column, f"expected KEY = VALUE, not {content!r}")
        key = match[1].lower()
        if key in section.entries:
            before = section.entries[key].line
            raise self._error(line, column, f"{key} is given already, in line {before}")
        known = _SECTIONS[section.kind]
        if key not in known:
            raise self._error(line, column, _unknownKey(key, section.kind))
        valueColumn = column + len(match[1]) + len(match[2])
        if not match[3]:
            raise self._error(line, valueColumn, f"expected a value for {key}")
        section.entries[key] = _Entry(value=match[3], line=line, column=valueColumn)

    # --- values ---------------------------------------------------------------------------------

    def _values(self, section: _Section, keys: _Keys) -> dict[str, Any]:
        """
        What a section says about some keys, by the names of the attributes.
        """
        values = {}
        for key, (name, read) in keys.items():
            entry = section.entries.get(key)
            if entry is not None:
                values[name] = self._at(entry, read, entry.value)
        return values

    def _at(self, entry: _Entry, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except BadTopology as error:
            raise self._error(entry.line, entry.column, str(error)) from None

    def _made(self, section: _Section, make: Callable[..., Any], **values: Any) -> Any:
        """
        Make a value of a section, or say what of the section is wrong.
        """
        try:
            return make(**values)
        except (BadTopology, UsageError) as error:
            raise self._errorIn(section, str(error)) from None

    def _need(self, section: _Section, *keys: str) -> None:
        for key in keys:
            if key not in section.entries:
                where = f"[{section.kind} {section.name}]"
                raise self._error(section.line, 1, f"expected {key} = … in {where}")

    def _link(self, section: _Section, link: LinkSpec) -> LinkSpec:
        values = {**attrs.asdict(link), **self._values(section, _LINK_KEYS)}
        made: LinkSpec = self._made(section, LinkSpec, **values)
        return made

    def _host(self, section: _Section, link: LinkSpec) -> HostSpec:
        self._need(section, "address")
        values = self._values(section, _HOST_KEYS)
        made: HostSpec = self._made(
            section, HostSpec, name=section.name, link=self._link(section, link), **values
        )
        return made

    def _addInterface(self, section: _Section, link: LinkSpec, hosts: list[HostSpec]) -> None:
        """
        Give the host of an interface that interface.
        """
        self._need(section, "host", "address")
        entry = section.entries["host"]
        names = [host.name for host in hosts]
        if entry.value not in names:
            known = ", ".join(names) or "none"
            sentence = f"expected a host that is above, of {known}, not {entry.value!r}"
            raise self._error(entry.line, entry.column, sentence)
        interface: InterfaceSpec = self._made(
            section,
            InterfaceSpec,
            name=section.name,
            link=self._link(section, link),
            **self._values(section, _PLACE_KEYS),
        )
        at = names.index(entry.value)
        interfaces = (*hosts[at].interfaces, interface)
        hosts[at] = attrs.evolve(hosts[at], interfaces=interfaces)

    def _nat(self, section: _Section, link: LinkSpec) -> NATSpec:
        self._need(section, "address", "inside")
        values = self._values(section, _NAT_KEYS)
        made: NATSpec = self._made(
            section,
            NATSpec,
            name=section.name,
            behaviour=self._behaviour(section),
            firewall=self._firewall(section),
            link=self._link(section, link),
            **values,
        )
        return made

    def _firewall(self, section: _Section) -> NATBehaviour:
        entry = section.entries.get(_FIREWALL)
        named = self._at(entry, behaviourNamed, entry.value) if entry else behaviourNamed(_FIREWALL)
        details = {
            **attrs.asdict(named, recurse=False),
            **self._values(section, _FIREWALL_KEYS),
        }
        made: NATBehaviour = self._made(section, NATBehaviour, **details)
        return made

    def _behaviour(self, section: _Section) -> NATBehaviour:
        details = self._values(section, _BEHAVIOUR_KEYS)
        entry = section.entries.get("behaviour")
        if entry is not None:
            named = self._at(entry, behaviourNamed, entry.value)
            details = {**attrs.asdict(named, recurse=False), **details}
        elif section.entries.get("translates") and not {"mapping", "filtering"} & {
            *section.entries
        }:
            details = {**attrs.asdict(behaviourNamed(_FIREWALL), recurse=False), **details}
        elif "kernel" in section.entries:
            masquerade = behaviourNamed("linux-masquerade")
            details = {**attrs.asdict(masquerade, recurse=False), **details}
        else:
            if not {"mapping", "filtering"} & section.entries.keys():
                self._need(section, "behaviour")
            self._need(section, "mapping", "filtering")
        made: NATBehaviour = self._made(section, NATBehaviour, **details)
        return made
