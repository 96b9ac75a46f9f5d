"""
The client side: a peer with its sockets, sessions and transports.
"""

from holepunch.peer.access import AccessList, AccessRequest, Ask, Everyone
from holepunch.peer.address import PunchedAddress
from holepunch.peer.candidatesource import ForwardedPort, HostCandidates
from holepunch.peer.config import PeerConfig, SessionOptions
from holepunch.peer.datagrampath import DatagramPath
from holepunch.peer.hosts import FixedHostAddresses, SystemHostAddresses
from holepunch.peer.knownpeers import KnownPeer, KnownPeers, KnownPeersFile
from holepunch.peer.outofband import openStreamOver
from holepunch.peer.pathchooser import BestKindFirst, LowestRoundTrip, PathKind, PathState
from holepunch.peer.peer import Peer
from holepunch.peer.ping import PingPath
from holepunch.peer.securestream import SecureStream
from holepunch.peer.signalling import TextSignalling
from holepunch.peer.streamendpoints import PeerAddress

__all__ = [
    "AccessList",
    "AccessRequest",
    "Ask",
    "BestKindFirst",
    "DatagramPath",
    "Everyone",
    "FixedHostAddresses",
    "ForwardedPort",
    "HostCandidates",
    "KnownPeer",
    "KnownPeers",
    "KnownPeersFile",
    "LowestRoundTrip",
    "PathKind",
    "PathState",
    "Peer",
    "PeerAddress",
    "PeerConfig",
    "PingPath",
    "PunchedAddress",
    "SecureStream",
    "SessionOptions",
    "SystemHostAddresses",
    "TextSignalling",
    "openStreamOver",
]
