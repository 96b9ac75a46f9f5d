"""
Networks of NATs on one machine: topologies, simulated or made of kernel namespaces.
"""

from holepunch.lab.fabric import Fabric, Fate
from holepunch.lab.simulated import SimulatedHost, SimulatedInternet
from holepunch.lab.topology import HostSpec, LinkSpec, NATSpec, Topology

__all__ = [
    "Fabric",
    "Fate",
    "HostSpec",
    "LinkSpec",
    "NATSpec",
    "SimulatedHost",
    "SimulatedInternet",
    "Topology",
]
