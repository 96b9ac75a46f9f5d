"""
Name resolution in the simulated internet.

Owns: the table of names.
Knows nothing of: how an address is reached.
Driven by: C{HostnameEndpoint} and C{connectTCP}, through the reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer


@implementer(IHostResolution)
class _Resolution:
    isCancelled = False

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        self.isCancelled = True


@implementer(IHostnameResolver)
class SimulatedResolver:
    """
    Resolves names out of a table.

    @param names: IP addresses by name; the table may be changed at any time.
    @param callSoon: Calls something when the caller has returned.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]],
        callSoon: Callable[[Callable[[], object]], object],
    ) -> None:
        self._names = names
        self._callSoon = callSoon

    def lookUp(self, name: str) -> Sequence[str]:
        """
        The IP addresses of a name; an address is its own name.
        """
        return self._names.get(name.lower(), ())

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        transport: Literal["TCP", "UDP"] = "UDP" if transportSemantics == "UDP" else "TCP"

        def answer() -> None:
            if resolution.isCancelled:
                return
            for host in self.lookUp(hostName):
                addressType = IPv6Address if ":" in host else IPv4Address
                if addressTypes is None or addressType in addressTypes:
                    resolutionReceiver.addressResolved(addressType(transport, host, portNumber))
            resolutionReceiver.resolutionComplete()

        self._callSoon(answer)
        return resolution
