"""
A stranger who accepts every TCP connection and answers every datagram, whatever the port.

Run as root of its own network namespace: nftables redirects all ports to one.
"""

import subprocess
import sys

from twisted.internet import protocol, reactor

RULES = """
table ip decoy {
    chain in {
        type nat hook prerouting priority -100;
        tcp dport 1-65535 redirect to :7
        udp dport 1-65535 redirect to :7
    }
}
"""


class Mirror(protocol.DatagramProtocol):
    """
    Sends each datagram back.
    """

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.transport.write(datagram, addr)  # type: ignore


class Greeter(protocol.Protocol):
    """
    Speaks first, and sends back what it gets.
    """

    def connectionMade(self) -> None:
        self.transport.write(b"\x00\x04junk")  # type: ignore

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore


if __name__ == "__main__":
    subprocess.run(["nft", "-f", "-"], input=RULES.encode(), check=True)
    reactor.listenTCP(7, protocol.Factory.forProtocol(Greeter))  # type: ignore
    reactor.listenUDP(7, Mirror())  # type: ignore
    print("ready")
    sys.stdout.flush()
    reactor.run()
