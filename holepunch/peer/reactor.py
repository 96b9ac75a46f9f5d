"""
What a peer needs of a reactor.

Owns: the interface.
Knows nothing of: who provides it; the real reactor and the simulated one both do.
Driven by: the modules beside it, which take a reactor as their first argument.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUDP


class PeerReactor(IReactorTCP, IReactorUDP, IReactorTime):
    """
    Sockets and a clock.
    """
