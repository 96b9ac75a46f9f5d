"""
Connecting to a client of an assist listener over TCP, so that it learns whom its NAT lets in.

Only an address from which a TCP connection is open is ever called, from which somebody has answered
a handshake: nobody can have a victim called. A client is called once for each request and twice for
each connection, with two SYNs at most each; and there is a limit to what one address may ask.

Owns: the connection, which is closed as soon as it stands, and what became of it.
Knows nothing of: STUN messages.
Driven by: L{AssistStream<holepunch.rendezvous.assist.AssistStream>}.
"""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol

from holepunch.address import Family, TransportAddress
from holepunch.stun import CallFailure

#: Seconds; systems send the second SYN after one, and the third after three.
CALL_TIMEOUT = 2.0
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}


class _Call(Protocol):
    """
    A connection that stands has said all.
    """

    def connectionMade(self) -> None:
        cast(ITransport, self.transport).loseConnection()


async def callBack(
    reactor: Any, origin: TransportAddress, client: TransportAddress
) -> CallFailure | None:
    """
    Connect to a client, once.

    @param reactor: Provides IReactorTCP.
    @param origin: The local address to connect from; another port of it is taken.
    @return: C{None}: the connection stood.
    @raise ConnectError: It failed here.
    """
    endpoint = TCP6ClientEndpoint if client.family is Family.IPV6 else TCP4ClientEndpoint
    calling = endpoint(reactor, client.host, client.port, CALL_TIMEOUT, (origin.host, 0))
    factory = Factory.forProtocol(_Call)
    factory.noisy = False
    try:
        await calling.connect(factory)
    except (TimeoutError, TCPTimedOutError):
        return CallFailure.SILENT
    except ConnectionRefusedError:
        return CallFailure.REFUSED
    except ConnectError as error:
        if isinstance(error, NoRouteError) or error.osError in _UNREACHABLE:
            return CallFailure.UNREACHABLE
        raise
    return None
