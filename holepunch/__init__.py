"""
TCP and UDP hole punching for Twisted: direct connections between programs behind NATs.
"""

from typing import TYPE_CHECKING, Any

from holepunch._version import __version__

if TYPE_CHECKING:
    from holepunch.identity import Identity, PeerID
    from holepunch.peer import Peer, PeerConfig, SessionOptions

__all__ = ["Identity", "Peer", "PeerConfig", "PeerID", "SessionOptions", "__version__"]

_HOMES = {
    "Identity": "holepunch.identity",
    "PeerID": "holepunch.identity",
    "Peer": "holepunch.peer",
    "PeerConfig": "holepunch.peer",
    "SessionOptions": "holepunch.peer",
}


def __getattr__(name: str) -> Any:
    # The plugins, the cores and the command line's --help import this package: what they do not
    # need is imported when it is first asked for (PEP 562).
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
