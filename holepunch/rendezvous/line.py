"""
What both ends of a main connection have in common: an AMP protocol that bears bad input.

Owns: the limit of a message, what happens to bytes that are not AMP, the keepalive, and goodbyes.
Knows nothing of: registrations and sessions.
Driven by: the TLS transport; L{MainConnection} and L{RendezvousClient} are its two kinds.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.errors import (
    HolepunchError,
    MalformedMessage,
    RendezvousError,
    TooLarge,
    TooManyRequests,
)
from holepunch.rendezvous.arguments import MAX_TEXT
from holepunch.rendezvous.commands import Goodbye, Ping
from holepunch.rendezvous.keepalive import SILENT_INTERVALS, Keepalive

CLOSE_TIMEOUT = 5.0
MAX_UNANSWERED = 2048


@implementer(IPushProducer)
class Line(amp.AMP):
    """
    One end of a main connection.

    @ivar clock: Set by whoever builds the protocol.
    @ivar messageLimit: Bytes of one AMP box.
    """

    log = Logger()
    clock: IReactorTime
    messageLimit = 64 * 1024

    isClosing = False
    _boxSize = 0
    _unanswered = 0
    _keepalive: Keepalive | None = None
    _abortCall: IDelayedCall | None = None

    def startKeepalive(self, interval: float) -> None:
        """
        Ping after each C{interval} of silence, and close after three of them.
        """
        self._stopKeepalive()
        self._keepalive = Keepalive(self.clock, interval, self._ping, self._fellSilent)

    def drop(self, reason: str) -> None:
        """
        Close because the other side broke the protocol.

        @param reason: For the log; one sentence.
        """
        if not self.isClosing:
            self.misbehaved(reason)
            self.close()

    def hangUp(self, text: str, isReplaced: bool = False) -> None:
        """
        Say goodbye, with a sentence for people, and close.

        @param isReplaced: Another connection has taken the place of this one.
        """
        if not self.isClosing and self.transport is not None:
            self.callRemote(Goodbye, text=shortened(text), isReplaced=isReplaced)
            self.close()

    def close(self) -> None:
        """
        Close after what was written; abort if the other side does not let us.
        """
        if self.isClosing or self.transport is None:
            return
        self.isClosing = True
        # Leaves the parser's loop.
        self.paused = True
        self._stopKeepalive()
        cast(IConsumer, self.transport).unregisterProducer()
        self._abortCall = self.clock.callLater(CLOSE_TIMEOUT, self._abort)
        self.transport.loseConnection()

    def abort(self) -> None:
        """
        Close at once: the other side cannot be reached.
        """
        self._stopKeepalive()
        self._abort()

    # --- for subclasses ---

    def misbehaved(self, reason: str) -> None:
        """
        The other side broke the protocol, and is being disconnected.
        """
        self.log.warn("the main connection broke the protocol: {reason}", reason=reason)

    def requestReceived(self) -> None:
        """
        A request is about to be answered.

        @raise TooManyRequests: It shall not.
        """

    def fellSilent(self, seconds: float) -> None:
        """
        Nothing was heard for so long, and the connection is being aborted.
        """

    # --- AMP ---

    def makeConnection(self, transport: ITransport) -> None:
        # AMP's own method would log a line for every connection.
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """
        The other side is there.
        """
        super().connectionMade()
        # Who does not read what he is sent is not read from either, so that he causes no more to be
        # sent (the inherited pauseProducing); if that lasts, the keepalive ends it.
        cast(IConsumer, self.transport).registerProducer(self, True)

    def stopProducing(self) -> None:
        """
        C{connectionLost} follows.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.isClosing = True
        self._stopKeepalive()
        if self._abortCall is not None:
            self._abortCall.cancel()
            self._abortCall = None
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None

    def dataReceived(self, data: bytes) -> None:
        if not self.isClosing:
            super().dataReceived(data)

    def proto_value(self, string: bytes) -> str:
        """
        Count the bytes of a box, which AMP itself does not limit.
        """
        self._boxSize += len(self._currentKey or b"") + len(string)
        if self._boxSize > self.messageLimit:
            self.drop(f"a message of more than {self.messageLimit} bytes")
            return "done"
        return str(super().proto_value(string))

    def lengthLimitExceeded(self, length: int) -> None:
        self.drop("what arrived is not AMP")

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        self._boxSize = 0
        if self._keepalive is not None:
            self._keepalive.heard()
        try:
            super().ampBoxReceived(box)
        except (KeyError, amp.NoEmptyBoxes):
            self.drop("a message that is neither a request nor an answer to one of ours")

    def locateResponder(self, name: bytes) -> Any:
        # Only our commands: AMP's own StartTLS is out of place, and its other way of finding
        # responders chokes on names that are not ASCII.
        responder = amp.CommandLocator.locateResponder(self, name)
        isKnown = responder is not None and name != amp.StartTLS.commandName

        def respond(box: amp.AmpBox) -> Any:
            try:
                self.requestReceived()
                if not isKnown:
                    raise amp.RemoteAmpError(amp.UNHANDLED_ERROR_CODE, "unknown command")
                return responder(box)
            except TooManyRequests as error:
                raise amp.RemoteAmpError(b"TOO_MANY_REQUESTS", str(error))
            except (KeyError, TypeError, ValueError, HolepunchError) as error:
                # Only the parsing of arguments raises; the responder's errors come as a Failure.
                text = str(error) if isinstance(error, MalformedMessage) else "bad arguments"
                command = name[:40].decode("ascii", "replace")
                self.misbehaved(f"{command}: {text}")
                raise amp.RemoteAmpError(b"MALFORMED", shortened(text), fatal=True)

        return respond

    def sendBox(self, box: amp.AmpBox) -> None:
        super().sendBox(box)
        if isinstance(box, amp.QuitBox):
            self.close()

    def callRemote(self, commandType: type[amp.Command], *a: Any, **kw: Any) -> Any:
        if self._unanswered >= MAX_UNANSWERED:
            self.drop("it leaves too many requests unanswered")
            return fail(RendezvousError("the main connection is closed: nobody answers there"))
        try:
            called = super().callRemote(commandType, *a, **kw)
            if called is not None:
                self._unanswered += 1
                called.addBoth(self._replied)
            return called
        except TooLarge:
            return fail()
        except amp.TooLong:
            return fail(TooLarge(f"{commandType.__name__} is over AMP's limit of 65,535 bytes"))

    def _replied(self, result: Any) -> Any:
        self._unanswered -= 1
        return result

    def unhandledError(self, failure: Failure) -> None:
        if failure.check(amp.RemoteAmpError) is None:
            self.log.failure("bug: unhandled on the main connection", failure)
        self.close()

    # --- keepalive and goodbye ---

    @Ping.responder
    def pinged(self) -> dict[str, Any]:
        """
        Reply to the other side's keepalive.
        """
        return {}

    def _ping(self) -> None:
        answered: Deferred[object] = self.callRemote(Ping)
        # A lost connection is reported elsewhere.
        answered.addErrback(lambda failure: None)

    def _fellSilent(self) -> None:
        if self._keepalive is not None:
            self.fellSilent(SILENT_INTERVALS * self._keepalive.interval)
        self._abort()

    def _stopKeepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None

    def _abort(self) -> None:
        self._abortCall = None
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()


def shortened(text: str) -> str:
    """
    C{text}, cut to what one value of the main connection may carry.
    """
    return text.encode("utf-8")[:MAX_TEXT].decode("utf-8", "ignore")
