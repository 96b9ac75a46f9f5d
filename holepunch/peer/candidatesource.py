"""
Who says where this peer may be reached: the sources of the candidates that it announces of itself.

What is observed of it, its mapped addresses, the service tells the other side.

Owns: two sources, and the ports that a source wants to have open.
Knows nothing of: sessions; how candidates are announced.
Driven by: L{Peer<holepunch.peer.peer.Peer>}; the registration and the sessions, which ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from holepunch.address import Transport, TransportAddress
from holepunch.errors import NoLocalPort
from holepunch.interfaces import ICandidateSource
from holepunch.peer.demultiplexer import Demultiplexer
from holepunch.peer.gathering import forwardedCandidates, hostCandidates
from holepunch.peer.localports import LocalPorts
from holepunch.peer.reactor import PeerReactor
from holepunch.punch import Candidate


@implementer(ICandidateSource)
class HostCandidates:
    """
    This machine's own addresses (RFC 8445 section 5.1.1.1).
    """

    localPort = 0

    def candidates(self, ports: LocalPorts, transports: Iterable[Transport]) -> Sequence[Candidate]:
        """
        One for each address and transport.
        """
        return hostCandidates(ports, transports)


@implementer(ICandidateSource)
class ForwardedPort:
    """
    A public endpoint from which a router passes everything on to a port of this machine, because
    somebody has set it up so.

    The rendezvous service tells others of it if it sees us at that address, too.
    """

    def __init__(
        self,
        public: TransportAddress | str,
        localPort: int | None = None,
        transports: Iterable[Transport] = frozenset(Transport),
    ) -> None:
        """
        @param public: C{HOST:PORT}, as others reach it.
        @param localPort: The port of this machine to which it leads; by default the same.
        @param transports: What the router passes on.
        @raise BadAddress: C{public} is none.
        """
        self._public = TransportAddress.parse(public) if isinstance(public, str) else public
        self._transports = frozenset(transports)
        self.localPort = self._public.port if localPort is None else localPort

    def candidates(self, ports: LocalPorts, transports: Iterable[Transport]) -> Sequence[Candidate]:
        """
        The endpoint, to whichever address of this machine it leads.
        """
        return forwardedCandidates(self._public, ports, self._transports & frozenset(transports))


class CandidateSources:
    """
    The sources of one peer.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: PeerReactor,
        demultiplexer: Demultiplexer,
        sources: Sequence[ICandidateSource] | None = None,
    ) -> None:
        """
        @param sources: By default, this machine's own addresses.
        """
        self._reactor = reactor
        self._demultiplexer = demultiplexer
        self._sources = (HostCandidates(),) if sources is None else tuple(sources)
        self._open: dict[int, LocalPorts] = {}

    def announced(
        self, ports: LocalPorts, transports: Iterable[Transport]
    ) -> tuple[Candidate, ...]:
        """
        What other peers are told about us.

        @param ports: Those of the registration or session.
        """
        transports = frozenset(transports)
        found: dict[tuple[Transport, TransportAddress], Candidate] = {}
        for source in self._sources:
            those = self._portsOf(source, ports)
            for each in () if those is None else source.candidates(those, transports):
                found.setdefault((each.transport, each.address), each)
        return tuple(found.values())

    def forwarded(
        self, ports: LocalPorts, transports: Iterable[Transport]
    ) -> list[tuple[LocalPorts, Sequence[Candidate]]]:
        """
        The ports at which a session may be reached besides its own, with their candidates.
        """
        transports = frozenset(transports)
        return [
            (those, source.candidates(those, transports))
            for source in self._sources
            if source.localPort and (those := self._portsOf(source, ports)) is not None
        ]

    def close(self) -> None:
        """
        Close what was opened; sessions keep what they use.
        """
        opened, self._open = self._open, {}
        for ports in opened.values():
            ports.release()

    def _portsOf(self, source: ICandidateSource, ports: LocalPorts) -> LocalPorts | None:
        number: int = source.localPort
        if not number:
            return ports
        present = self._open.get(number)
        if present is not None and present.hosts == ports.hosts:
            return present
        if present is not None:
            # This machine has other addresses now.
            del self._open[number]
            present.release()
        try:
            opened = LocalPorts.open(self._reactor, ports.hosts, self._demultiplexer, number)
        except NoLocalPort as error:
            self._log.warn(
                "nobody can reach us by port {port}: {reason}", port=number, reason=str(error)
            )
            return None
        self._open[number] = opened.retain()
        return opened
