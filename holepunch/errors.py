"""
Every error that txholepunch raises, under L{HolepunchError}.

The docstring of a class is the text that a person sees when no more precise sentence was given: see
L{HolepunchError.__str__}. Errors of the remote side and errors of the caller are told apart, in the
way of h11: L{LocalProtocolError} means that the caller misused a core.
"""

from __future__ import annotations

import inspect


class HolepunchError(Exception):
    """
    Something in txholepunch failed.
    """

    def __str__(self) -> str:
        if self.args:
            return str(self.args[0])
        return " ".join((inspect.getdoc(type(self)) or "").split())


# --- misuse and configuration -------------------------------------------------------------------


class LocalProtocolError(HolepunchError):
    """
    The program called a part of txholepunch in an order that makes no sense.
    """


class BadAddress(HolepunchError, ValueError):
    """
    This is not an address of the form HOST:PORT.
    """


class BadIdentity(HolepunchError):
    """
    The identity file cannot be used.
    """


class BadPeerID(HolepunchError, ValueError):
    """
    This is not a peer ID (52 letters and digits), nor a peer name.
    """


class BadCredentials(HolepunchError, ValueError):
    """
    This user name or password cannot be used.
    """


class CannotListen(HolepunchError):
    """
    The address to listen on cannot be used: another program may have it.
    """


class UsageError(HolepunchError, ValueError):
    """
    The arguments do not make sense together.
    """


# --- packets ------------------------------------------------------------------------------------


class MalformedMessage(HolepunchError):
    """
    These bytes are not a message of the protocol.
    """


class StunError(HolepunchError):
    """
    The STUN server answered with an error.
    """


class TransactionTimedOut(HolepunchError):
    """
    The STUN server did not answer.
    """


class UnknownHost(HolepunchError):
    """
    No host has that name.
    """


# --- the rendezvous service ---------------------------------------------------------------------


class RendezvousError(HolepunchError):
    """
    The rendezvous service refused.
    """


class RendezvousUnreachable(RendezvousError):
    """
    The rendezvous service could not be reached: check its address, and that TCP to it is allowed.
    """


class ServiceIdentityChanged(RendezvousError):
    """
    The rendezvous service shows another key than before: somebody may be impersonating it.
    """


class NameTaken(RendezvousError):
    """
    Another peer is registered under that name: choose another name.
    """


class PeerReplaced(RendezvousError):
    """
    Another program has registered with the same identity: each needs an identity of its own.
    """


class BadName(RendezvousError, ValueError):
    """
    A peer name has 1 to 63 letters, digits, dots, dashes and underscores, unlike a peer ID.
    """


class NotRegistered(RendezvousError):
    """
    The peer must register before it asks for anything else.
    """


class UnknownPeer(RendezvousError):
    """
    No peer of that name or ID is registered: it may be offline, or the name misspelt.
    """


class PeerNotListening(RendezvousError):
    """
    The peer is online, but accepts no connections.
    """


class PeerIsSelf(RendezvousError):
    """
    A peer cannot connect to itself: this name or ID is its own.
    """


class SessionRefused(RendezvousError):
    """
    The peer, or the service's policy, refused the session.
    """


class UnknownSession(RendezvousError):
    """
    The service does not know that session: it has ended or expired.
    """


class LoginRequired(RendezvousError):
    """
    The rendezvous service lets only its users in: give a user name and a password.
    """


class LoginFailed(RendezvousError):
    """
    The user name or the password is wrong.
    """


class LoginUnsupported(RendezvousError):
    """
    The rendezvous service asks nobody to log in: leave the user name out.
    """


class ServiceNotProven(RendezvousError):
    """
    The rendezvous service does not know the password itself: somebody may be impersonating it.
    """


class InvitationFailed(RendezvousError):
    """
    The invitation came to nothing: make a new one.
    """


class BadInvitation(InvitationFailed, ValueError):
    """
    An invitation code is a number and two words, such as 7-crossword-atlas.
    """


class PeerIdentityChanged(RendezvousError):
    """
    The peer of that name has another key than the one that is known: somebody may be posing as it.
    """


class TooManyRequests(RendezvousError):
    """
    Too many requests in a short time: wait a moment and try again.
    """


class TooLarge(RendezvousError, ValueError):
    """
    The value is too large to be sent over the main connection.
    """


# --- sessions and paths -------------------------------------------------------------------------


class SessionError(HolepunchError):
    """
    The session ended without a path.
    """


class NoPathFound(SessionError):
    """
    No candidate pair worked.

    @ivar fates: One sentence for each pair: what was tried and how it ended.
    """

    def __init__(self, message: str = "", fates: tuple[str, ...] = ()) -> None:
        super().__init__(message or "No candidate pair worked.")
        self.fates = fates


class SessionTimedOut(SessionError):
    """
    The session took too long.
    """


class BadCandidate(HolepunchError, ValueError):
    """
    This is not a candidate in the form of RFC 8839.
    """


class PeerVanished(SessionError):
    """
    The peer's main connection was lost before a path was found.
    """


class PathLost(HolepunchError):
    """
    The path stopped working: the other side no longer answers.
    """


class NoLocalPort(HolepunchError):
    """
    No local port could be opened: is there a network?
    """


class UnknownName(HolepunchError, ValueError):
    """
    No peer of that name is known here: holepunch peers add NAME ID makes one known.
    """


class KnownAlready(HolepunchError, ValueError):
    """
    Another peer is known by that name.
    """


class WrongPeer(HolepunchError):
    """
    The other side of the connection proved another identity than the expected one.
    """


class PeerMisbehaved(HolepunchError):
    """
    The other side broke the rules of the protocol.
    """


class PeerClosed(HolepunchError):
    """
    The peer service was stopped.
    """


class RelayFailed(HolepunchError):
    """
    The relay cannot be used.
    """


class RelayUnreachable(RelayFailed):
    """
    The relay does not answer.
    """


class RelayRefused(RelayFailed):
    """
    The relay does not accept the credential.
    """


class RelayFull(RelayFailed):
    """
    The relay has no room for one more: a quota is reached.
    """


# --- the command line ---------------------------------------------------------------------------


class LocalStreamFailed(HolepunchError):
    """
    Standard input or output cannot be used any more.
    """


class BadTrace(HolepunchError):
    """
    This file is not a trace, or cannot be used as one.
    """


class CannotRead(HolepunchError):
    """
    The file cannot be read.
    """


class CannotWrite(HolepunchError):
    """
    The file cannot be written.
    """


class DemoFailed(HolepunchError):
    """
    The demonstration did not come to its end.
    """


# --- the lab ------------------------------------------------------------------------------------


class LabError(HolepunchError):
    """
    The lab could not be built.
    """


class NamespacesUnavailable(LabError):
    """
    This system does not let us make network namespaces.
    """


class SimulationStuck(LabError):
    """
    The simulated network does not get on: nothing more can happen, or no time passes any more.
    """


class MatrixFailed(LabError):
    """
    The matrix has cells that fall short of what is possible.
    """


class BadTopology(LabError, ValueError):
    """
    The topology text cannot be understood.
    """
