"""
Sending the probes of a discovery plan about the way: with a time to live, and of any size.

Owns: the sockets, one for each number that a plan uses; sending again; which complaint is about
which probe.
Knows nothing of: why a probe is sent (L{holepunch.nat.discoverypath}); how a system tells of
complaints (L{holepunch.peer.discoverysocket}).
Driven by: L{holepunch.peer.discovery}.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import islice
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from holepunch.errors import BadAddress, MalformedMessage
from holepunch.nat.discoveryprobe import Fate, Outcome, Probe
from holepunch.peer.discoveryquery import Answer, bindingRequest, outcomeOf
from holepunch.peer.discoverysocket import Complaint, ComplaintSocket, Received
from holepunch.stun import MessageClass, decode

# When a request is sent, and when it is given up, in seconds.
_SENDINGS = (0.0, 0.25, 0.75)
_ANSWERING = 1.5
# How often the sockets are looked at while something is expected.
_LOOKING = 0.02
# Others may send to the sockets as well; the rest waits.
_AT_ONCE = 64


@attrs.define(eq=False)
class _Asked:
    """
    One probe, until something is known of it.
    """

    probe: Probe
    request: bytes
    socket: ComplaintSocket
    answered: Deferred[Outcome]
    calls: list[IDelayedCall] = attrs.Factory(list)


class PathProber:
    """
    The sockets of one discovery of the way.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        openSocket: Callable[[int], Any],
        randomBytes: Callable[[int], bytes],
    ) -> None:
        """
        @param host: Our own address towards the server.
        @param openSocket: Makes a UDP socket of an address family.
        """
        self._reactor = reactor
        self._host = host
        self._openSocket = openSocket
        self._randomBytes = randomBytes
        self._sockets: dict[int, ComplaintSocket] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._looking: IDelayedCall | None = None

    def send(self, probe: Probe) -> Deferred[Outcome]:
        """
        Send one probe now.

        @raise NoLocalPort: There is no socket to be had.
        """
        socket = self._socket(probe.socket)
        length = None if probe.size is None else probe.size - socket.headers
        request = bindingRequest(self._randomBytes, length=length, isFilled=probe.isFilled)
        transactionId = decode(request).transactionId
        answered: Deferred[Outcome] = Deferred(lambda _: self._forget(transactionId))
        asked = self._asked[transactionId] = _Asked(probe, request, socket, answered)
        asked.calls = [
            self._reactor.callLater(delay, self._transmit, asked) for delay in _SENDINGS[1:]
        ]
        asked.calls.append(
            self._reactor.callLater(_ANSWERING, self._end, asked, Outcome(fate=Fate.SILENT))
        )
        self._transmit(asked)
        if self._looking is None:
            self._looking = self._reactor.callLater(_LOOKING, self._look)
        return answered

    async def close(self) -> None:
        """
        Close all sockets.
        """
        for transactionId in list(self._asked):
            self._forget(transactionId)
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()

    def _socket(self, number: int) -> ComplaintSocket:
        if number not in self._sockets:
            self._sockets[number] = ComplaintSocket(self._openSocket, self._host)
        return self._sockets[number]

    def _transmit(self, asked: _Asked) -> None:
        probe = asked.probe
        number = asked.socket.send(asked.request, probe.destination, probe.ttl, probe.mayFragment)
        if number == errno.EMSGSIZE:
            self._end(asked, Outcome(fate=Fate.TOO_LONG))

    def _look(self) -> None:
        """
        Take all that has come.
        """
        self._looking = None
        for socket in tuple(self._sockets.values()):
            for complaint in islice(iter(socket.hear, None), _AT_ONCE):
                self._takeComplaint(socket, complaint)
            for received in islice(iter(socket.receive, None), _AT_ONCE):
                self._takeDatagram(socket, received)
        if self._asked and self._looking is None:
            self._looking = self._reactor.callLater(_LOOKING, self._look)

    def _takeDatagram(self, socket: ComplaintSocket, received: Received) -> None:
        try:
            answer = Answer(received.source, decode(received.data))
        except (MalformedMessage, BadAddress):
            return
        asked = self._asked.get(answer.message.transactionId)
        if asked is None:
            return
        isRequest = answer.message.messageClass is MessageClass.REQUEST
        hearer = asked.probe.socket if asked.probe.hearer is None else asked.probe.hearer
        if isRequest is asked.probe.isEcho and socket is self._sockets.get(hearer):
            self._end(
                asked,
                attrs.evolve(
                    outcomeOf(asked.socket.local, answer),
                    size=len(received.data) + socket.headers,
                    fragmentSize=received.fragmentSize,
                ),
            )

    def _takeComplaint(self, socket: ComplaintSocket, complaint: Complaint) -> None:
        fate = Fate.UNREACHABLE
        if complaint.isTimeExceeded:
            fate = Fate.EXPIRED
        elif complaint.mtu is not None:
            fate = Fate.TOO_LONG
        elif complaint.number == errno.ECONNREFUSED:
            fate = Fate.REFUSED
        for asked in self._meant(socket, complaint):
            self._end(asked, Outcome(fate=fate, source=complaint.reporter, mtu=complaint.mtu))

    def _meant(self, socket: ComplaintSocket, complaint: Complaint) -> list[_Asked]:
        """
        Which probes a complaint is about, even if the router left nothing of the packet.
        """
        open = [
            asked
            for asked in self._asked.values()
            if asked.socket is socket and asked.probe.destination == complaint.destination
        ]
        named = [asked for asked in open if asked.request[:20] == complaint.data[:20]]
        if named or len(complaint.data) >= 20:
            return named
        if complaint.mtu is not None:
            return [
                asked
                for asked in open
                if asked.probe.size is not None
                and asked.probe.size > complaint.mtu
                and not asked.probe.mayFragment
            ]
        return open if len(open) == 1 else []

    def _end(self, asked: _Asked, outcome: Outcome) -> None:
        if asked.answered.called:
            return
        self._forget(decode(asked.request).transactionId)
        asked.answered.callback(attrs.evolve(outcome, local=asked.socket.local))

    def _forget(self, transactionId: bytes) -> None:
        asked = self._asked.pop(transactionId, None)
        for call in asked.calls if asked is not None else ():
            if call.active():
                call.cancel()
        if not self._asked and self._looking is not None:
            self._looking.cancel()
            self._looking = None
