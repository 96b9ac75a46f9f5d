"""
The interfaces at which a program or an operator may put another policy.

Owns: their methods, and what an implementation promises.
Knows nothing of: the implementations.
Driven by: L{holepunch.rendezvous} and L{holepunch.peer}.
"""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface

from holepunch.punch.nomination import NominationStrategy

__all__ = [
    "IAuthoriser",
    "ICandidateSource",
    "IDatagramPath",
    "IHostAddresses",
    "IKnownPeers",
    "IKnownServices",
    "INameOwners",
    "IPasswordProof",
    "IPathChooser",
    "IRegistry",
    "IRendezvousEvents",
    "ISignalling",
    "IStoredPasswords",
    "NominationStrategy",
]


class IRendezvousEvents(Interface):
    """
    What a peer hears over its main connection.
    """

    def sessionOffered(introduction: Any) -> Any:
        """
        Another peer asks for this one.

        @param introduction: The L{Introduction<holepunch.rendezvous.introduction.Introduction>}.
        @return: C{True}, C{False}, an L{Answer<holepunch.rendezvous.introduction.Answer>}, or a
            Deferred of one of these.
        """

    def candidatesReceived(sessionID: str, candidates: Any) -> None:
        """
        The other peer of a session has these further candidates, a tuple of
        L{Candidate<holepunch.punch.candidate.Candidate>}.
        """

    def remoteReady(sessionID: str) -> None:
        """
        The other peer of a session said that it is ready.
        """

    def sessionEnded(sessionID: str, end: Any) -> None:
        """
        The other peer, or the service, ended a session.

        @param end: The L{SessionEnd<holepunch.rendezvous.introduction.SessionEnd>}.
        """

    def mainConnectionLost(reason: Exception) -> None:
        """
        The main connection is gone, and with it the registration; called once.

        @param reason: A L{RendezvousError<holepunch.errors.RendezvousError>}.
        """


class IKnownServices(Interface):
    """
    Remembers which key a rendezvous service showed the first time.
    """

    def recall(location: Any) -> Any:
        """
        The L{PeerID<holepunch.identity.PeerID>} remembered for a
        L{ServiceLocation<holepunch.rendezvous.location.ServiceLocation>}, or C{None}.
        """

    def remember(location: Any, peerID: Any) -> None:
        """
        Note the key of a service for which L{recall} gave C{None}.
        """


class IKnownPeers(Interface):
    """
    Knows which peer is meant by a name, whoever is registered under it.
    """

    def peers() -> Any:
        """
        All of them: a tuple of L{KnownPeer<holepunch.peer.knownpeers.KnownPeer>}.
        """

    def find(name: str) -> Any:
        """
        The L{KnownPeer<holepunch.peer.knownpeers.KnownPeer>} of that name, or C{None}.
        """

    def nameOf(peerID: Any) -> Any:
        """
        A name that a L{PeerID<holepunch.identity.PeerID>} is known by, or C{None}.
        """

    def pin(name: str, peerID: Any, origin: str) -> None:
        """
        From now on, C{name} means this peer.

        @param origin: How it became known, in a few words.
        @raise KnownAlready: The name means another peer.
        """

    def remove(name: str) -> Any:
        """
        Forget a name, and give whom it meant.

        @raise UnknownName: It is not known.
        """


class IAuthoriser(Interface):
    """
    Decides which other peers may connect to this one, before any address of this one is told.
    """

    isOpen = Attribute(
        """
        Is everybody let in, so that requesters need not wait for the decision?
        """
    )

    def authorise(request: Any) -> Any:
        """
        May this peer connect?

        @param request: An L{AccessRequest<holepunch.peer.access.AccessRequest>}.
        @return: C{True}, C{False}, or a Deferred of one of these. What is raised, or what the
            Deferred fails with, refuses; the sentence of a
            L{SessionRefused<holepunch.errors.SessionRefused>} is what the requester reads.
        """


class IPasswordProof(Interface):
    """
    Credentials that show the knowledge of a password by a proof, and not the password.
    """

    username = Attribute("The name of the user, as text.")

    def checkStored(stored: Any) -> bool:
        """
        Does the proof fit this L{StoredPassword<holepunch.rendezvous.scram.StoredPassword>}?
        """


class IStoredPasswords(Interface):
    """
    A checker of credentials that knows what is stored of passwords.
    """

    def storedPassword(user: str) -> Any:
        """
        The L{StoredPassword<holepunch.rendezvous.scram.StoredPassword>} of a user, or C{None}.
        """


class INameOwners(Interface):
    """
    Remembers which names belong to which users of a service.
    """

    def ownerOf(name: str) -> Any:
        """
        The user to whom a name belongs, or C{None}. Upper and lower case make no difference.
        """

    def claim(name: str, user: str) -> None:
        """
        From now on, a name that belongs to nobody is this user's.

        @raise NameTaken: The user has too many.
        """


class IRegistry(Interface):
    """
    Which peer is registered where, under which name.

    Every method may return its result or a Deferred of it, so that a registry can be shared by
    several services.
    """

    def register(registration: Any) -> Any:
        """
        Enter a L{Registration<holepunch.rendezvous.registry.Registration>}.

        It takes the place of every earlier one of the same peer ID.

        @raise NameTaken: Another peer is registered under its name.
        @return: The registration that was replaced, or C{None}.
        """

    def update(registration: Any) -> Any:
        """
        Replace the values of a registration, unless another connection has taken its place.
        """

    def unregister(registration: Any) -> Any:
        """
        Remove a registration, unless another connection has taken its place.
        """

    def find(target: str) -> Any:
        """
        The registration of the peer with this name or ID, or C{None}.
        """


class ICandidateSource(Interface):
    """
    Says where a peer may be reached, beyond what is observed of it: its candidates of its own.

    What a source says is announced to other peers. From where this peer itself sends is not its
    affair: that is always the ports of the session.
    """

    localPort = Attribute(
        """
        The port of this machine, over TCP and UDP, at which the candidates lead to us; 0 for those
        ports that a session has anyway.
        """
    )

    def candidates(ports: Any, transports: Any) -> Any:
        """
        What is known now; it is asked again for each registration and session.

        @param ports: The L{LocalPorts<holepunch.peer.localports.LocalPorts>} in question: those
            with C{localPort}, or those of a session.
        @param transports: The transports in question.
        @return: A sequence of L{Candidate<holepunch.punch.candidate.Candidate>}, each with the base
            at which it leads to us.
        """


class ISignalling(Interface):
    """
    Carries what the two sides of one session tell each other while they look for a path.
    """

    def send(message: Any) -> None:
        """
        Tell the other side. Where that is not possible, nothing is raised: the message is lost.

        @param message: A L{Description<holepunch.peer.signalling.Description>},
            L{MoreCandidates<holepunch.peer.signalling.MoreCandidates>},
            L{Ready<holepunch.peer.signalling.Ready>} or
            L{SessionEnd<holepunch.rendezvous.introduction.SessionEnd>}.
        """

    def setReceiver(receiver: Any) -> None:
        """
        Call C{receiver} with each message of the other side, those that came before included.
        """


class IHostAddresses(Interface):
    """
    Tells which addresses this machine has.
    """

    def hostAddresses() -> Any:
        """
        The addresses as a sequence of IP literals, best first; those of no use are left out later.
        """


class IPathChooser(Interface):
    """
    Decides which of several paths to one peer is used.
    """

    def order(paths: Any) -> Any:
        """
        Put paths in order, the one to be used first.

        @param paths: A sequence of L{PathState<holepunch.peer.pathchooser.PathState>}.
        @return: All of them, as a sequence.
        """


class IDatagramPath(Interface):
    """
    A path for datagrams between two peers.
    """

    def getHost() -> Any:
        """
        Our L{PunchedAddress<holepunch.peer.address.PunchedAddress>}.
        """

    def getPeer() -> Any:
        """
        The other side's L{PunchedAddress<holepunch.peer.address.PunchedAddress>}.
        """

    def send(data: bytes) -> None:
        """
        Send one datagram.
        """

    def setReceiver(receiver: Any) -> None:
        """
        Call C{receiver} with the bytes of each datagram that arrives.
        """

    def whenLost() -> Any:
        """
        A Deferred that fails with L{PathLost<holepunch.errors.PathLost>} when the other side has
        withdrawn its consent (RFC 7675) or is gone, or with
        L{PeerClosed<holepunch.errors.PeerClosed>} after L{close}.
        """

    def ping() -> Any:
        """
        A Deferred of one round trip in seconds.
        """

    def close() -> None:
        """
        Close the path.
        """
