"""
What the tests with coturn share: its programs, clients of ours, and free ports.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import (
    DatagramProtocol,
    ProcessProtocol,
    Protocol,
    connectionDone,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from holepunch.address import TransportAddress
from holepunch.stun import (
    Attribute,
    ClientTransaction,
    Message,
    Method,
    ReceivedMessage,
    StunFramer,
    decode,
)

HOSTS = ("127.0.0.1", "127.0.0.2")


def grid(ports: tuple[int, int]) -> list[TransportAddress]:
    """
    Two ports on each of L{HOSTS}.
    """
    return [TransportAddress(host, port) for host in HOSTS for port in ports]


class Program(ProcessProtocol):
    """
    A program that runs, and what it printed.

    @ivar ended: Fires with the output when the program has ended.
    """

    transport: Any

    def __init__(self) -> None:
        self.output = b""
        self.ended: Deferred[str] = Deferred()

    @classmethod
    def start(cls, reactor: Any, name: str, *arguments: str) -> Program:
        """
        Run a program of coturn.
        """
        path = shutil.which(name)
        if path is None:
            raise AssertionError(f"{name} is missing: install coturn to run this test")
        program = cls()
        reactor.spawnProcess(program, path, [path, *arguments], env=dict(os.environ))
        return program

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        Keep what it prints.
        """
        self.output += data

    def processEnded(self, reason: Failure) -> None:
        """
        Report the end.
        """
        self.ended.callback(self.output.decode("utf-8", "replace"))

    def stop(self) -> Deferred[str]:
        """
        End the program, unless it has ended already.
        """
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
        return self.ended


@attrs.frozen
class Heard:
    """
    A response, and where it came from.
    """

    message: ReceivedMessage
    source: TransportAddress


class UDPClient(DatagramProtocol):
    """
    A client that asks one question at a time.
    """

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._transaction: ClientTransaction | None = None
        self._heard: Deferred[Heard] = Deferred()

    def expect(self, data: bytes) -> Deferred[Heard]:
        """
        Wait for the response to a request, whoever sends it.
        """
        self._transaction = ClientTransaction(data, self._reactor.seconds(), rto=0.1)
        self._heard = Deferred()
        return self._heard

    def ask(self, data: bytes, server: TransportAddress) -> Deferred[Heard]:
        """
        Send a request, again where needed, and wait for the response.
        """
        heard = self.expect(data)
        self._send(data, server)
        return heard

    def _send(self, data: bytes | None, server: TransportAddress) -> None:
        if data is not None:
            self.transport.write(data, (server.host, server.port))
        transaction = self._transaction
        assert transaction is not None
        wakeAt = transaction.nextTimeout()
        if wakeAt is None:
            self._heard.errback(AssertionError(f"{server} does not answer"))
            return
        call = self._reactor.callLater(
            max(0, wakeAt - self._reactor.seconds()),
            lambda: self._send(transaction.handleTimeout(self._reactor.seconds()), server),
        )

        def stop(result: Heard) -> Heard:
            if call.active():
                call.cancel()
            return result

        self._heard.addCallback(stop)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Take the response.
        """
        message = decode(datagram)
        if self._transaction is not None and self._transaction.matches(message):
            self._transaction = None
            self._heard.callback(Heard(message, TransportAddress(*addr[:2])))


class TCPClient(Protocol):
    """
    A client that fires with the first message of the stream.
    """

    transport: Any

    def __init__(self) -> None:
        self.received: Deferred[ReceivedMessage] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self._framer = StunFramer()

    def dataReceived(self, data: bytes) -> None:
        """
        Cut messages out of the stream.
        """
        for message in self._framer.feed(data):
            self.received.callback(decode(message))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the end.
        """
        self.lost.callback(None)


class CoturnTestCase(TestCase):
    """
    A test case with the real reactor, two free ports on L{HOSTS}, and an end to all waiting.
    """

    timeout = 30

    def setUp(self) -> Any:
        """
        Trial waits for L{prepare}.
        """
        from twisted.internet import reactor

        self.reactor: Any = reactor
        return self.prepare()

    async def prepare(self) -> None:
        """
        Find two ports that are free.
        """
        first, second = (self.reactor.listenUDP(0, DatagramProtocol(), HOSTS[0]) for _ in range(2))
        self.ports = (first.getHost().port, second.getHost().port)
        await first.stopListening()
        await second.stopListening()

    def request(self, method: Method = Method.BINDING, *attributes: Attribute) -> Message:
        """
        A request with a transaction ID of its own.
        """
        return Message.request(method, os.urandom(12), attributes)
