"""
The causes that an explanation names: why a session went as it did.

Owns: the list, what each cause means, and what to do about it.
Knows nothing of: how a cause is recognised.
Driven by: L{holepunch.explain.explanation}. C{docs/explain.md} lists the same; a test compares.
"""

from __future__ import annotations

import enum


class Cause(enum.Enum):
    """
    Why a session went as it did; the value is its name for programs.

    @ivar meaning: What it is, in one sentence.
    @ivar remedy: What to do about it; empty where there is nothing to be done.
    """

    meaning: str
    remedy: str

    def __new__(cls, value: str, meaning: str, remedy: str) -> Cause:
        cause = object.__new__(cls)
        cause._value_ = value
        cause.meaning = meaning
        cause.remedy = remedy
        return cause

    # --- it went well ---------------------------------------------------------------------------

    CONNECTED = ("connected", "A path was found.", "")
    CONNECTED_BY_RELAY = (
        "connected-by-relay",
        "The relay carries the connection, since no direct path came through.",
        "It works, and is encrypted from end to end. For a direct path, forward a port to one of"
        " the two, or use another network on one side.",
    )
    NETWORK_CHANGED = (
        "network-changed",
        "One of the machines got other addresses, and the connection went on from there.",
        "",
    )
    NAT_RESTARTED = (
        "nat-restarted",
        "A NAT forgot its mappings or got another public address, and the connection went on by"
        " another path.",
        "If it happens again and again, look at that NAT: it may restart, or drop mappings too"
        " soon.",
    )
    PATH_RESTORED = (
        "path-restored",
        "The path fell silent, and the connection went on by another one.",
        "If it happens again and again, look at the traces of both sides together.",
    )

    # --- NATs and firewalls ---------------------------------------------------------------------

    BOTH_MAP_BY_DESTINATION = (
        "both-map-by-destination",
        "Both NATs choose another port for each destination (both are symmetric), so neither side"
        " can tell the other where it will appear.",
        "Forward a port to one of the two, or use a network with another NAT on one side.",
    )
    MAPPING_MEETS_FILTER = (
        "mapping-meets-filter",
        "One NAT chooses another port for each destination (it is symmetric), and the other side"
        " lets in only addresses and ports that were sent to.",
        "Forward a port to one of the two, or let the other side's NAT or firewall admit any port.",
    )
    NO_HAIRPIN = (
        "no-hairpin",
        "Both sides are behind one outer NAT, which does not turn packets back inside (it has no"
        " hairpin), and their inner networks cannot reach each other.",
        "Join one network inside, or turn on hairpin (NAT loopback) in the outer NAT.",
    )
    UDP_BLOCKED = (
        "udp-blocked",
        "UDP does not leave, or does not come back into, the network of one side.",
        "Use --transport tcp, or let the firewall there pass UDP.",
    )
    TCP_BLOCKED = (
        "tcp-blocked",
        "The network of one side passes TCP to few ports or hosts only.",
        "Use --transport udp, or let the firewall there pass outgoing TCP to all ports.",
    )
    RESET_ON_THE_WAY = (
        "reset-on-the-way",
        "A NAT or firewall answers connects that nobody asked for with resets.",
        "Use --transport udp, or have that device drop such packets silently (RFC 5382 REQ-4).",
    )
    ANSWERED_FOR_THE_PEER = (
        "answered-for-the-peer",
        "A proxy or firewall accepts connections in the peer's name.",
        "Use --transport udp, or exempt the connection from that proxy.",
    )
    DECOY = (
        "decoy",
        "Somebody else has the peer's private address in this network, and nothing came through by"
        " the public one.",
        "The private address is of no use between these networks: see to the public one, with a"
        " forwarded port or another network.",
    )
    NO_ROUTE = (
        "no-route",
        "A router answers that there is no way to the peer.",
        "Check the network and its routes on the side that gets these answers.",
    )
    NOTHING_CAME_THROUGH = (
        "nothing-came-through",
        "Neither NAT stands in the way as far as is known, and yet nothing arrived: a firewall"
        " blocks direct traffic.",
        "Try the other transport, another network, or forward a port to one of the two.",
    )
    LOSS = (
        "loss",
        "Some checks arrived, but too few: packets are lost on the way.",
        "Try again, with a longer --timeout, or over a better connection.",
    )

    LARGE_PACKETS_LOST = (
        "large-packets-lost",
        "Small packets pass on the path, and larger ones vanish: its MTU is below 1280 bytes.",
        "Use --transport tcp, or raise the MTU on the way: a tunnel or VPN often lowers it.",
    )

    # --- the relay ------------------------------------------------------------------------------

    RELAY_UNREACHABLE = (
        "relay-unreachable",
        "There is no direct path, and the relay that the service names does not answer.",
        "Whoever runs the service should see whether the relay runs and its ports are open, one for"
        " TLS among them.",
    )
    RELAY_REFUSED = (
        "relay-refused",
        "There is no direct path, and the relay does not accept the service's credentials.",
        "Whoever runs the service should compare its secret and its clock with the relay's.",
    )
    RELAY_FULL = (
        "relay-full",
        "There is no direct path, and the relay has no room: a quota is reached.",
        "Close other connections that use the relay, or let whoever runs it raise its quotas.",
    )
    NO_RELAY = (
        "no-relay",
        "Only a relay may be used, and the service offers none.",
        "Use --relay auto, or let the service offer a relay (twistd holepunch --relay HOST:PORT).",
    )

    # --- this machine ---------------------------------------------------------------------------

    NO_COMMON_FAMILY = (
        "no-common-family",
        "One side has IPv4 addresses only, and the other IPv6 addresses only.",
        "Give one of them an address of the other kind.",
    )
    LOCAL_PORTS = (
        "local-ports",
        "The local ports or addresses could not be used.",
        "Check this machine's network, and that no other program holds the ports.",
    )

    # --- the other peer -------------------------------------------------------------------------

    PEER_UNKNOWN = (
        "peer-unknown",
        "No peer of that name or ID is registered: it is offline, or the name is misspelt.",
        "Start the peer, with the same rendezvous service, and compare the names.",
    )
    PEER_NOT_LISTENING = (
        "peer-not-listening",
        "The peer is online, but accepts no connections.",
        "Let the peer listen, for instance with holepunch listen.",
    )
    NOT_LET_IN = (
        "not-let-in",
        "The peer's user does not let this peer in, by --allow or --deny.",
        "Tell the peer's user your ID (holepunch id), to be allowed.",
    )
    PEER_REFUSED = (
        "peer-refused",
        "The peer, or the policy of the service, refused the session.",
        "Ask whoever runs the peer, or try again later where it was only busy.",
    )
    PEER_VANISHED = (
        "peer-vanished",
        "The other peer went away before there was a path.",
        "Start the peer again, and see why it ended.",
    )
    PEER_KEY_CHANGED = (
        "peer-key-changed",
        "The peer of that name has another key than the one that is known.",
        "Ask its user for the new ID by another way. If it is right: holepunch peers remove NAME,"
        " and connect again; if not, somebody poses as the peer.",
    )
    INVITATION_FAILED = (
        "invitation-failed",
        "The invitation came to nothing: a wrong code, one that was used, or one that is too old.",
        "Make a new one with holepunch invite; each is good for one try.",
    )
    WRONG_IDENTITY = (
        "wrong-identity",
        "Who answered has another key than expected.",
        "Compare the IDs. If they changed on purpose, remove the remembered key; otherwise somebody"
        " may be in between.",
    )

    # --- the service ----------------------------------------------------------------------------

    SERVICE_UNREACHABLE = (
        "service-unreachable",
        "The rendezvous service could not be reached.",
        "Check its address, that it runs, and that TCP to its port is allowed.",
    )
    SERVICE_LOST = (
        "service-lost",
        "The rendezvous service was lost in the middle.",
        "Try again; peers register anew by themselves once it is back.",
    )
    LOGIN_REFUSED = (
        "login-refused",
        "The rendezvous service does not let this user in.",
        "Check --user and the password; whoever runs the service knows its users.",
    )
    SERVICE_REFUSED = (
        "service-refused",
        "The rendezvous service refused what it was asked for.",
        "Do as its sentence says.",
    )

    # --- afterwards, and otherwise --------------------------------------------------------------

    PATH_LOST = (
        "path-lost",
        "The path worked, and later stopped to work; no other one took its place.",
        "Connect again; if it happens after a fixed time, keep the path busier than that.",
    )
    CANCELLED = ("cancelled", "The session was given up from this side before it ended.", "")
    UNFINISHED = (
        "unfinished",
        "The trace ends before the session did.",
        "Let the command come to its end, and look at its trace again.",
    )
    NO_SESSION = ("no-session", "The trace tells of no session at all.", "")
    UNKNOWN = (
        "unknown",
        "What is in the trace does not show the cause.",
        "Look at the traces of both sides together.",
    )
