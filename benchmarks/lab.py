"""
How fast TCP is through the lab of kernel namespaces, beside a plain pair of interfaces.

Owns: one stream at a time into the public core, for each kind of network.
Knows nothing of: hole punching.
Driven by: C{python benchmarks/lab.py [--seconds N] [--rootless]}; prints a line for each network,
with its share of what the plain pair did in the same run.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from typing import Any

from pyroute2 import IPRoute
from twisted.internet import task
from twisted.internet.defer import Deferred

from holepunch.lab.isolation import NetworkNamespace
from holepunch.lab.namespaces import NamespaceLab
from holepunch.lab.topology import LinkSpec, Topology

PORT = 5000
SERVER = "5.1.0.1"
CHUNK = 1 << 20
NO_LATENCY = LinkSpec(latency=0.0)
NETWORKS = (
    ("plain pair of interfaces", "none/none", "plain", True),
    ("no NAT", "none/none", "stream", True),
    ("one model NAT", "port-restricted/none", "stream", True),
    ("two model NATs", "port-restricted/none/port-restricted", "stream", True),
    ("one kernel NAT", "kernel/none", "stream", True),
    ("one model NAT, no offload", "port-restricted/none", "stream", False),
)


def receive(listener: socket.socket) -> float:
    """
    Take one stream to its end.

    @return: Its megabits per second, from the first byte to the last.
    """
    connection, _ = listener.accept()
    buffer = bytearray(CHUNK)
    total, started = 0, 0.0
    while count := connection.recv_into(buffer):
        started = started or time.monotonic()
        total += count
    return total * 8e-6 / (time.monotonic() - started)


def send(connection: socket.socket, seconds: float) -> None:
    """
    Send a stream for so long.
    """
    connection.connect((SERVER, PORT))
    chunk = bytes(CHUNK)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(chunk)
    connection.shutdown(socket.SHUT_WR)


def inTwoProcesses(listener: socket.socket, client: socket.socket, seconds: float) -> float:
    """
    Send from one process to another, whichever namespaces their sockets belong to.
    """
    child = os.fork()
    if child == 0:
        send(client, seconds)
        os._exit(0)
    try:
        return receive(listener)
    finally:
        os.waitpid(child, 0)


def plain(seconds: float) -> float:
    """
    Inside any host: make two more namespaces, joined directly, and send between them.
    """
    near, far = NetworkNamespace.create(), NetworkNamespace.create()
    with near.entered(), IPRoute() as routes:
        peer = {"ifname": "eth0", "net_ns_fd": far.fd}
        routes.link("add", kind="veth", ifname="eth0", peer=peer)
        client = socket.socket()
    for namespace, address in ((near, "5.1.0.2"), (far, SERVER)):
        with namespace.entered(), IPRoute() as routes:
            index = socket.if_nametoindex("eth0")
            routes.link("set", index=index, state="up")
            routes.addr("add", index=index, address=address, prefixlen=24)
    with far.entered():
        listener = socket.create_server(("", PORT))
    return inTwoProcesses(listener, client, seconds)


async def measure(reactor: Any, network: tuple[str, str, str, bool], seconds: float) -> float:
    """
    Megabits per second from C{alice} to the server.
    """
    _, text, kind, useOffload = network
    topology = Topology.parse(text, NO_LATENCY)
    isRootless = True if options.rootless else None
    lab = NamespaceLab(reactor, topology, isRootless=isRootless, useOffload=useOffload)
    await lab.start()
    try:
        if kind == "plain":
            command = [sys.executable, __file__, "--plain", f"--seconds={seconds}"]
            return float(await lab.run("alice", command))
        listener = await lab.makeSocket("rendezvous")
        listener.bind((SERVER, PORT))
        listener.listen()
        return inTwoProcesses(listener, await lab.makeSocket("alice"), seconds)
    finally:
        await lab.stop()


async def compare(reactor: Any) -> None:
    """
    Measure every network in turn, and print.
    """
    reference = 0.0
    for network in NETWORKS:
        rate = await measure(reactor, network, options.seconds)
        reference = reference or rate
        print(f"{network[0]:28} {rate:8.0f} Mbit/s  {rate / reference:6.1%}", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=3.0)
parser.add_argument("--rootless", action="store_true")
parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
options = parser.parse_args()
if options.plain:
    print(plain(options.seconds))
else:
    task.react(lambda reactor: Deferred.fromCoroutine(compare(reactor)))
