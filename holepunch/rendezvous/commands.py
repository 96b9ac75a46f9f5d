"""
The main connection's protocol: AMP commands over TLS 1.3.

A peer logs in where the service has users, registers, and may then request sessions. The service
I{introduces} the two peers: the requester gets the introduction as the answer to its request, the
other peer as an I{offer}, whose AMP reply is its I{answer}. Then candidates trickle in both
directions, "ready" is passed on, and
either side ends the session. Each side pings the other when it has heard nothing for the keepalive
interval, and says goodbye before it leaves.

Owns: the commands, their arguments and their errors.
Knows nothing of: who answers them.
Driven by: L{holepunch.rendezvous.server} and L{holepunch.rendezvous.client}.
"""

from __future__ import annotations

from twisted.protocols.amp import Argument, Boolean, Command, Float, Integer

from holepunch import errors
from holepunch.address import Transport
from holepunch.punch.config import TCPFlow
from holepunch.rendezvous.arguments import (
    ID,
    Binary,
    CandidateText,
    Choice,
    Credential,
    Endpoint,
    Many,
    RelayGrantText,
    Text,
    TicketText,
)
from holepunch.rendezvous.introduction import EndReason, IntroductionPolicy, RelayPolicy, Use


def _errors(*kinds: type[Exception]) -> dict[type[Exception], bytes]:
    # AMP takes the first class that fits, so the general one comes last.
    codes: dict[type[Exception], bytes] = {
        errors.NameTaken: b"NAME_TAKEN",
        errors.BadName: b"BAD_NAME",
        errors.NotRegistered: b"NOT_REGISTERED",
        errors.UnknownPeer: b"UNKNOWN_PEER",
        errors.PeerNotListening: b"PEER_NOT_LISTENING",
        errors.PeerIsSelf: b"PEER_IS_SELF",
        errors.SessionRefused: b"SESSION_REFUSED",
        errors.UnknownSession: b"UNKNOWN_SESSION",
        errors.PeerVanished: b"PEER_VANISHED",
        errors.SessionTimedOut: b"SESSION_TIMED_OUT",
        errors.PeerIdentityChanged: b"PEER_CHANGED",
        errors.LoginRequired: b"LOGIN_REQUIRED",
        errors.LoginFailed: b"LOGIN_FAILED",
        errors.LoginUnsupported: b"LOGIN_UNSUPPORTED",
        errors.InvitationFailed: b"INVITATION_FAILED",
    }
    table = {kind: codes[kind] for kind in kinds}
    return {
        **table,
        errors.TooManyRequests: b"TOO_MANY_REQUESTS",
        errors.TooLarge: b"TOO_LARGE",
        errors.MalformedMessage: b"MALFORMED",
        errors.RendezvousError: b"REFUSED",
    }


_INTRODUCTION: list[tuple[bytes, Argument]] = [
    (b"sessionID", Text()),
    (b"remote", ID()),
    (b"remoteName", Text(optional=True)),
    (b"isRequester", Boolean()),
    (b"isControlling", Boolean()),
    (b"isRemoteBehindNAT", Boolean()),
    (b"transports", Many(Choice(Transport), most=2)),
    (b"flow", Choice(TCPFlow)),
    (b"local", Credential()),
    (b"remoteCredentials", Credential()),
    (b"remoteCandidates", Many(CandidateText())),
    (b"ticket", TicketText()),
    (b"use", Choice(Use)),
    (b"relay", Choice(RelayPolicy)),
    (b"relayLocal", Credential(optional=True)),
    (b"relayRemote", Credential(optional=True)),
    (b"continues", Text(optional=True)),
    (b"application", Text(optional=True)),
]


class Register(Command):
    """
    Peer to service, first of all and again when something changed: this is how to reach me.

    C{local} is the peer's own view of the main connection's endpoint, C{candidates} its own view of
    where it can be punched; C{accepts} says whether others may ask for it.
    """

    arguments = [
        (b"version", Integer()),
        (b"name", Text(optional=True)),
        (b"accepts", Boolean()),
        (b"policy", Choice(IntroductionPolicy)),
        (b"local", Endpoint()),
        (b"candidates", Many(CandidateText())),
    ]
    response = [
        (b"peerID", ID()),
        (b"name", Text(optional=True)),
        (b"observed", Endpoint()),
        (b"isBehindNAT", Boolean()),
        (b"ticket", TicketText()),
        (b"assist", Many(Endpoint())),
        (b"keepaliveInterval", Float()),
        (b"version", Text()),
        (b"relay", RelayGrantText(optional=True)),
    ]
    errors = _errors(errors.NameTaken, errors.BadName, errors.SessionRefused, errors.LoginRequired)


class BeginLogin(Command):
    """
    Peer to service, before Register: this user wants to log in.

    The response is a challenge, as in RFC 5802: the salt of the user's password, and scrypt's cost.
    """

    arguments = [(b"user", Text()), (b"nonce", Text())]
    response = [
        (b"nonce", Text()),
        (b"salt", Binary()),
        (b"logN", Integer()),
        (b"r", Integer()),
        (b"p", Integer()),
    ]
    errors = _errors(errors.LoginUnsupported, errors.NotRegistered)


class FinishLogin(Command):
    """
    Peer to service: the proof that belongs to the challenge. The response is the service's own.
    """

    arguments = [(b"proof", Binary())]
    response = [(b"signature", Binary())]
    errors = _errors(errors.LoginFailed)


class OpenMailbox(Command):
    """
    Peer to service: open a mailbox for an invitation.
    """

    response = [(b"nameplate", Integer()), (b"lifetime", Float())]
    errors = _errors(errors.NotRegistered)


class EnterMailbox(Command):
    """
    Peer to service: enter the mailbox of another peer. A mailbox can be entered once.
    """

    arguments = [(b"nameplate", Integer())]
    errors = _errors(errors.NotRegistered, errors.InvitationFailed)


class Post(Command):
    """
    Both ways: the sender, or the other end of the mailbox, says this.
    """

    arguments = [(b"nameplate", Integer()), (b"body", Binary())]
    errors = _errors(errors.NotRegistered, errors.InvitationFailed)


class CloseMailbox(Command):
    """
    Both ways: the mailbox is over; a sentence says why where there is something to say.
    """

    arguments = [(b"nameplate", Integer()), (b"text", Text())]
    errors = _errors(errors.NotRegistered)


class RequestSession(Command):
    """
    Peer to service: introduce me to the peer with this name or ID.

    C{candidates} are those of the local ports that the peer will use, where these are not the
    registered ones; it is empty where they are. Relayed ones may be among them in any case.
    C{continues} names an earlier session of the two, whose streams are to go on: that one may be
    asked for which accepts no other sessions. C{expected} says who is meant by a name: that peer is
    asked for, under whatever name, and nobody else. C{application} is what a stream is wanted for.
    """

    arguments = [
        (b"target", Text()),
        (b"transports", Many(Choice(Transport), most=2)),
        (b"flow", Choice(TCPFlow)),
        (b"candidates", Many(CandidateText())),
        (b"use", Choice(Use)),
        (b"relay", Choice(RelayPolicy)),
        (b"continues", Text(optional=True)),
        (b"expected", ID(optional=True)),
        (b"application", Text(optional=True)),
    ]
    response = _INTRODUCTION
    errors = _errors(
        errors.PeerIdentityChanged,
        errors.NotRegistered,
        errors.UnknownPeer,
        errors.PeerNotListening,
        errors.PeerIsSelf,
        errors.SessionRefused,
        errors.PeerVanished,
        errors.SessionTimedOut,
    )


class Offer(Command):
    """
    Service to peer: this peer asks for you. The reply is the answer.
    """

    arguments = _INTRODUCTION
    response = [
        (b"isAccepted", Boolean()),
        (b"candidates", Many(CandidateText())),
        (b"text", Text()),
    ]
    errors = _errors(errors.SessionRefused)


class Candidates(Command):
    """
    Both ways: further candidates of the sender, or of the other peer.
    """

    arguments = [(b"sessionID", Text()), (b"candidates", Many(CandidateText()))]
    errors = _errors(errors.NotRegistered, errors.UnknownSession)


class Ready(Command):
    """
    Both ways: the sender, or the other peer, listens now (the sequential flow waits for it).
    """

    arguments = [(b"sessionID", Text())]
    errors = _errors(errors.NotRegistered, errors.UnknownSession)


class EndSession(Command):
    """
    Both ways: the session is over. Ending a session that is over already is no error.
    """

    arguments = [(b"sessionID", Text()), (b"reason", Choice(EndReason)), (b"text", Text())]
    errors = _errors(errors.NotRegistered)


class Ping(Command):
    """
    Both ways: the keepalive; the reply is all that is asked for.
    """

    errors = _errors()


class Goodbye(Command):
    """
    Both ways: the sender closes the main connection, and says why.

    C{isReplaced}: the service does so because the same peer registered over another connection.
    """

    arguments = [(b"text", Text()), (b"isReplaced", Boolean())]
    errors = _errors()
    requiresAnswer = False
