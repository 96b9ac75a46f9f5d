"""
A pull producer that is asked through somebody else.

Owns: passing the calls on.
Knows nothing of: how much is pulled at once.
Driven by: the TCP connection below a L{SecureStream<holepunch.peer.securestream.SecureStream>}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer


@implementer(IPullProducer)
class Puller:
    """
    Lets C{pull} ask a producer, as often as it likes, when the TCP connection has room.
    """

    def __init__(self, pull: Callable[[IPullProducer], None], producer: IPullProducer) -> None:
        self._pull = pull
        self._producer = producer

    def resumeProducing(self) -> None:
        """
        The TCP connection has nothing more to send.
        """
        self._pull(self._producer)

    def stopProducing(self) -> None:
        """
        The TCP connection is gone.
        """
        self._producer.stopProducing()
