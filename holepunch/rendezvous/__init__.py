"""
The rendezvous service: both ends of the main connection, the assist listeners, and the registry.

A program that runs its own service subclasses L{MainConnection}, puts it into a
L{RendezvousFactory}, or gives it to a L{RendezvousService}.
"""

from holepunch.rendezvous.assist import Assist, AssistProtocol, AssistStream, AssistStreamFactory
from holepunch.rendezvous.authentication import Authority
from holepunch.rendezvous.authenticationclient import LoginCredentials
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.connecting import connectRendezvous
from holepunch.rendezvous.exchange import Exchange
from holepunch.rendezvous.introduction import (
    Answer,
    EndReason,
    Introduction,
    IntroductionPolicy,
    Registered,
    SessionEnd,
    Ticket,
)
from holepunch.rendezvous.knownservices import KnownServices, KnownServicesFile
from holepunch.rendezvous.limits import Limits
from holepunch.rendezvous.location import ServiceLocation
from holepunch.rendezvous.nameowners import NameOwners, NameOwnersFile
from holepunch.rendezvous.passwords import PasswordFile
from holepunch.rendezvous.registry import MemoryRegistry, Registration
from holepunch.rendezvous.server import MainConnection, RegistrationRequest, RendezvousFactory
from holepunch.rendezvous.service import RendezvousService

__all__ = [
    "Answer",
    "Assist",
    "AssistProtocol",
    "AssistStream",
    "AssistStreamFactory",
    "Authority",
    "EndReason",
    "Exchange",
    "Introduction",
    "IntroductionPolicy",
    "KnownServices",
    "KnownServicesFile",
    "Limits",
    "LoginCredentials",
    "MainConnection",
    "MemoryRegistry",
    "NameOwners",
    "NameOwnersFile",
    "PasswordFile",
    "Registered",
    "Registration",
    "RegistrationRequest",
    "RendezvousClient",
    "RendezvousFactory",
    "RendezvousService",
    "ServiceLocation",
    "SessionEnd",
    "Ticket",
    "connectRendezvous",
]
