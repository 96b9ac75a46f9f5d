"""
Which NAT is this machine behind?

Run `python examples/nat_check.py HOST[:PORT]...` with one or more STUN servers: a rendezvous
service, or any other one. Two servers, or a service with two addresses, find out more than one.
"""

import sys
from typing import Any

from twisted.internet import task

from holepunch.address import splitHostPort
from holepunch.errors import HolepunchError
from holepunch.nat.discovery import ProtocolReport
from holepunch.peer.discovery import discover
from holepunch.peer.resolving import resolve


def show(name: str, report: ProtocolReport) -> None:
    if report.mapped is None:
        print(f"{name}: {report.problem}")
        return
    print(f"{name}: {report.local} is seen as {report.mapped}")
    if report.isTranslated:
        for word, value in (("mapping", report.mapping), ("filtering", report.filtering)):
            print(f"  {word}: {value.value if value is not None else 'could not be found out'}")


async def main(reactor: Any, *servers: str) -> None:
    try:
        addresses = [await resolve(reactor, *splitHostPort(each, 3478)) for each in servers]
        report = await discover(reactor, addresses)
    except HolepunchError as error:
        sys.exit(str(error))
    show("UDP", report.udp)
    show("TCP", report.tcp)
    if report.classic is not None:
        print(f"in the classic words: {report.classic}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    task.react(main, sys.argv[1:])
