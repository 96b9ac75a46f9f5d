"""
A reactor for the programs of one simulated host.

Owns: telling Twisted's transports when their sockets are ready, and making those transports.
Knows nothing of: packets, and how the sockets work.
Driven by: the simulated clock, and the readiness that sockets report.

The transports are Twisted's own C{tcp.Client}, C{tcp.Server}, C{tcp.Port} and C{udp.Port}; only
their sockets are simulated. What a program sees of buffering, producers, half-close and errors is
so what it sees in earnest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import (
    Binding,
    IConnector,
    IDelayedCall,
    IHalfCloseableDescriptor,
    IHostnameResolver,
    IListeningPort,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
    IReadDescriptor,
    IWriteDescriptor,
    _Binding,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from holepunch.lab.simulatedkernel import SimulatedKernel
from holepunch.lab.simulatednames import SimulatedResolver
from holepunch.lab.simulatedsocket import SimulatedSocket
from holepunch.lab.simulatedtransport import (
    SimulatedConnector,
    SimulatedTCPPort,
    SimulatedUDPPort,
)

_log = Logger()

# A failure without a traceback is made once.
_DONE = Failure(ConnectionDone())
_LOST: dict[type[BaseException], Failure] = {
    ConnectionDone: _DONE,
    ConnectionLost: Failure(ConnectionLost()),
}


@implementer(IReactorTime, IReactorTCP, IReactorUDP, IReactorFDSet, IReactorPluggableNameResolver)
class SimulatedReactor:
    """
    A reactor whose time, sockets and names are simulated.

    It runs as long as the simulation does: there is no C{run} and no C{stop}. Of C{IReactorCore} it
    has what applications use of it.

    @ivar kernel: The network stack of the host.
    @ivar nameResolver: Resolves host names (C{IReactorPluggableNameResolver}).
    """

    running = True

    def __init__(
        self, clock: IReactorTime, kernel: SimulatedKernel, resolver: SimulatedResolver
    ) -> None:
        self.kernel = kernel
        self.nameResolver: IHostnameResolver = resolver
        self._names = resolver
        self._clock = clock
        self._readers: dict[IReadDescriptor, SimulatedSocket] = {}
        self._writers: dict[IWriteDescriptor, SimulatedSocket] = {}
        self._reading: dict[SimulatedSocket, IReadDescriptor] = {}
        self._writing: dict[SimulatedSocket, IWriteDescriptor] = {}
        self._ready: dict[SimulatedSocket, None] = {}
        self._isWoken = False
        self._triggers: list[tuple[str, str, Callable[[], object]]] = []

    # --- IReactorTime -----------------------------------------------------------------------------

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        return self._clock.callLater(delay, self._call, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        calls = self._clock.getDelayedCalls()
        return [call for call in calls if getattr(call, "func", None) == self._call]

    def _call(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        # As in a real reactor: the error is logged, and everything else goes on.
        try:
            callable(*args, **kwargs)
        except Exception:
            _log.failure("A program failed in {callable}", callable=callable)

    # --- IReactorTCP and IReactorUDP --------------------------------------------------------------

    def listenTCP(
        self,
        port: _Binding | int,
        factory: ServerFactory,
        backlog: int = 50,
        interface: str | None = "",
    ) -> IListeningPort:
        listening = SimulatedTCPPort(cast(int, port), factory, backlog, interface or "", self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: _Binding | tuple[str, int] | None = None,
    ) -> IConnector:
        binding = cast("Binding | tuple[str, int] | None", bindAddress)
        connector = SimulatedConnector(host, port, factory, timeout, binding, self)
        connector.connect()
        return connector

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> IListeningPort:
        listening = SimulatedUDPPort(port, protocol, interface, maxPacketSize, self)
        listening.startListening()
        return listening

    # --- names ------------------------------------------------------------------------------------

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    def resolve(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        """
        The first IP address of a name, as C{connectTCP} asks for it.
        """
        hosts = self._names.lookUp(name)
        if not hosts:
            return fail(DNSLookupError(f"no host is named {name!r}"))
        return succeed(hosts[0])

    # --- a little of IReactorCore -----------------------------------------------------------------

    def callWhenRunning(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """
        Call something at once: the reactor is always running.
        """
        callable(*args, **kwargs)

    def addSystemEventTrigger(
        self,
        phase: str,
        eventType: str,
        callable: Callable[..., object],
        *args: object,
        **kwargs: object,
    ) -> object:
        """
        Have something called when L{fireSystemEvent} is, as C{IReactorCore} has it.
        """
        trigger = (phase, eventType, partial(callable, *args, **kwargs))
        self._triggers.append(trigger)
        return trigger

    def removeSystemEventTrigger(self, triggerID: object) -> None:
        """
        Have it not called.
        """
        self._triggers = [trigger for trigger in self._triggers if trigger is not triggerID]

    def fireSystemEvent(self, eventType: str) -> None:
        """
        Call the triggers of an event; those during and after it, when those before it are done.
        """
        triggers = [each for each in self._triggers if each[1] == eventType]
        self._triggers = [each for each in self._triggers if each[1] != eventType]

        def goOn(results: object) -> None:
            for wanted in ("during", "after"):
                for phase, _, trigger in triggers:
                    if phase == wanted:
                        self._call(trigger)

        before = [maybeDeferred(each) for phase, _, each in triggers if phase == "before"]
        DeferredList(before, consumeErrors=True).addCallback(goOn)

    def shutDown(self) -> None:
        """
        Stop everything at once, as when the process is killed: nobody is told.
        """
        self.running = False
        for call in self.getDelayedCalls():
            call.cancel()
        self.removeAll()

    # --- IReactorFDSet ----------------------------------------------------------------------------

    def addReader(self, reader: IReadDescriptor) -> None:
        socket = self._watch(reader.fileno())
        self._readers[reader] = socket
        self._reading[socket] = reader
        self._wake(socket)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        socket = self._watch(writer.fileno())
        self._writers[writer] = socket
        self._writing[socket] = writer
        self._wake(socket)

    def removeReader(self, reader: IReadDescriptor) -> None:
        socket = self._readers.pop(reader, None)
        if socket is not None:
            del self._reading[socket]

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        socket = self._writers.pop(writer, None)
        if socket is not None:
            del self._writing[socket]

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        removed: list[Any] = list(dict.fromkeys([*self._readers, *self._writers]))
        for each in removed:
            self.removeReader(each)
            self.removeWriter(each)
        return removed

    def getReaders(self) -> list[IReadDescriptor]:
        return list(self._readers)

    def getWriters(self) -> list[IWriteDescriptor]:
        return list(self._writers)

    def _watch(self, number: int) -> SimulatedSocket:
        socket = self.kernel.socket(number)
        socket.onReady = self._wake
        return socket

    def _wake(self, socket: SimulatedSocket) -> None:
        """
        See to a socket soon, if somebody waits for what it is ready for.
        """
        if (socket in self._reading and socket.isReadable) or (
            socket in self._writing and socket.isWritable
        ):
            self._ready[socket] = None
            if not self._isWoken:
                self._isWoken = True
                self._clock.callLater(0, self._dispatch)

    def _dispatch(self) -> None:
        self._isWoken = False
        ready, self._ready = self._ready, {}
        for socket in ready:
            reader = self._reading.get(socket)
            if reader is not None and socket.isReadable and not self._do(reader, True):
                continue
            writer = self._writing.get(socket)
            if writer is not None and socket.isWritable:
                self._do(writer, False)
        for socket in ready:
            self._wake(socket)

    def _do(self, selectable: Any, isRead: bool) -> bool:
        """
        Let a transport read or write.

        @return: Is it still connected?
        """
        try:
            why = selectable.doRead() if isRead else selectable.doWrite()
        except Exception as error:
            _log.failure("A protocol failed in {selectable}", selectable=selectable)
            why = error
        if why:
            self._call(self._disconnect, selectable, why, isRead)
        return not why

    def _disconnect(self, selectable: Any, why: BaseException, isRead: bool) -> None:
        self.removeReader(selectable)
        isEnd = isinstance(why, ConnectionDone)
        if isRead and isEnd and IHalfCloseableDescriptor.providedBy(selectable):
            selectable.readConnectionLost(_DONE)
            return
        self.removeWriter(selectable)
        selectable.connectionLost(_LOST.get(type(why)) or Failure(why))
