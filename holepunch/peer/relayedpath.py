"""
A path through the relay: from our relayed address to the other side's.

Owns: its checks; the two addresses.
Knows nothing of: how the relay is reached; other paths.
Driven by: L{holepunch.peer.session}, L{RelayAllocation}, the application, the clock.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from holepunch.address import Transport, TransportAddress
from holepunch.errors import PathLost, PeerClosed
from holepunch.identity import PeerID
from holepunch.peer.address import PunchedAddress
from holepunch.peer.openpath import OpenPath
from holepunch.peer.proofdriver import ProofDriver
from holepunch.peer.relayallocation import TAG_SIZE, RelayAllocation
from holepunch.punch import Candidate, CandidateType, Path, gatheredCandidate
from holepunch.punch.pairproof import PairProofConfig
from holepunch.stun import looksLikeStun

# A peer may lose its allocation and get another one; each costs a channel of our own.
_MOST_REMOTES = 8
_NOWHERE = TransportAddress("0.0.0.0", 0)


def relayedCandidate(address: TransportAddress = _NOWHERE) -> Candidate:
    """
    A candidate that the relay gave.
    """
    return gatheredCandidate(CandidateType.RELAYED, Transport.UDP, address, server="relay")


def tagOf(link: str) -> bytes:
    """
    What the data of a link begins with on its way through the relay. It does not look like STUN.
    """
    return (zlib.crc32(link.encode()) | 0x80000000).to_bytes(TAG_SIZE, "big")


class RelayedPath(OpenPath):
    """
    Datagrams to and from one peer, through the relay.
    """

    def __init__(
        self,
        clock: IReactorTime,
        allocation: RelayAllocation,
        addresses: tuple[PeerID, PeerID],
        proof: PairProofConfig,
        link: str,
        *,
        allocated: Callable[[Candidate], None],
        checked: Callable[[RelayedPath], None],
        proven: Callable[[RelayedPath], None],
        ended: Callable[[RelayedPath, str], None],
    ) -> None:
        """
        @param proof: The session's credentials for the relay.
        @param link: What both sides call the link that the path is for.
        @param allocated: Called with our candidate once there is one.
        @param checked: Called when the first check leaves.
        @param proven: Called when the path may be used.
        @param ended: Called once, with the reason, when it is gone or never comes.
        """
        super().__init__(clock)
        self._allocation = allocation
        self._addresses = addresses
        self._config = proof
        self.tag = tagOf(link)
        self._allocated = allocated
        self._checked = checked
        self._proven = proven
        self._ended: Callable[[RelayedPath, str], None] | None = ended
        self._local = _NOWHERE
        self._remote: TransportAddress | None = None
        self._remotes = 0
        self._proof: ProofDriver | None = None

    @property
    def isProven(self) -> bool:
        """
        May the path be used?
        """
        return not self.isLost and self._proof is not None and self._proof.isProven

    def start(self) -> None:
        """
        Use the allocation.
        """
        self._allocation.enter(self._config.local.ufrag, self)

    def addRemote(self, remote: TransportAddress) -> None:
        """
        The other side has this relayed address, now.
        """
        if self.isLost or remote == self._remote or self._remotes >= _MOST_REMOTES:
            return
        self._remotes += 1
        self._allocation.permit(remote.host)
        self._setRemote(remote)

    def _setRemote(self, remote: TransportAddress) -> None:
        self._remote = remote
        self._allocation.addRoute(remote, self)
        if self._proof is None:
            self._proof = ProofDriver(
                self._clock,
                self._config,
                send=self._transmit,
                proven=self._found,
                answered=self.answered,
                lost=self._lose,
            )
            self._checked(self)
            # The timer would come a turn later, after what the relay is told at this moment.
            self._proof.begin()
        else:
            self._proof.probe()
            self._allocation.bindChannel(remote)

    def _transmit(self, data: bytes) -> None:
        if self._remote is not None and not self.isLost:
            self._allocation.send(self._remote, data)

    def _found(self) -> None:
        assert self._remote is not None
        self._allocation.bindChannel(self._remote)
        self._proven(self)

    @property
    def ends(self) -> tuple[TransportAddress | None, TransportAddress | None]:
        """
        Our relayed address and the other side's, as far as they are known.
        """
        return (None if self._local == _NOWHERE else self._local), self._remote

    # --- as a path --------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """
        The pair in use.
        """
        assert self._remote is not None
        return Path(
            transport=Transport.UDP,
            local=self._local,
            remote=self._remote,
            localCandidate=relayedCandidate(self._local),
            remoteCandidate=relayedCandidate(self._remote),
        )

    def getHost(self) -> PunchedAddress:
        """
        Our relayed endpoint, and our peer ID.
        """
        return PunchedAddress.of(Transport.UDP, self._local, self._addresses[0])

    def getPeer(self) -> PunchedAddress:
        """
        The other side's relayed endpoint, and its peer ID.
        """
        return PunchedAddress.of(Transport.UDP, self._remote or _NOWHERE, self._addresses[1])

    def send(self, data: bytes) -> None:
        """
        Send one datagram; after the path is lost, it goes nowhere.

        @raise ValueError: C{data} would be taken for STUN.
        """
        if looksLikeStun(data):
            raise ValueError("these bytes would be taken for STUN: begin with another byte")
        self._transmit(self.tag + data)

    def probe(self) -> None:
        """
        Send a check.
        """
        if self._proof is not None:
            self._proof.probe()

    def close(self) -> None:
        """
        Close the path.
        """
        if not self.isLost:
            if self._proof is not None:
                self._proof.close()
            self._end(Failure(PeerClosed("the path was closed")))

    # --- the allocation ---------------------------------------------------------------------

    def allocated(self, relayed: TransportAddress) -> None:
        """
        We can be reached there.
        """
        self._local = relayed
        self._allocated(relayedCandidate(relayed))

    def dataReceived(self, remote: TransportAddress, data: bytes) -> None:
        """
        A datagram of the application came.
        """
        if remote == self._remote:
            self.deliver(data)

    def checkReceived(self, remote: TransportAddress, data: bytes) -> None:
        """
        A message came that looks like STUN.
        """
        if self._remote is None:
            # Its check is quicker than the service; until it is proven, that costs a check.
            self._setRemote(remote)
        if self._proof is not None and remote == self._remote:
            self._proof.receive(data, remote)

    def relayLost(self, reason: str) -> None:
        """
        There is no allocation any more.
        """
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        self._end(Failure(PathLost(reason)))

    def _end(self, reason: Failure) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if self._proof is not None:
            self._proof.stop()
        self._allocation.leave(self._config.local.ufrag, self)
        ended(self, reason.getErrorMessage())
        self.lost(reason)
