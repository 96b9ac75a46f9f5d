"""
Which pairs of NATs can be punched by principle, and why the others cannot.

Owns: the answer, from the two behaviours alone (RFC 4787 sections 4 and 5).
Knows nothing of: what any program achieves.
Driven by: L{holepunch.lab.matrixresult}; tests hold it against the simulated network.

The peers know each other's announced endpoints: what an assist listener saw. A packet from
I{origin} to I{target}'s announced endpoint comes from origin's external address, whose port target
knows if origin's NAT keeps its port, and does not know otherwise. It is let in:

  - by endpoint-independent filtering always, whatever the mapping: the mapping towards the assist
    listener lets everybody in;
  - by address-dependent filtering, if target's NAT keeps its port, so that target's own packets to
    origin leave by the announced endpoint; they open it for origin's address, with any port;
  - by address-and-port-dependent filtering, if in addition origin's NAT keeps its port: target
    cannot send to a port that it does not know.

One direction is enough: the answer goes back by the session that the packet has made. Whether a NAT
resets, refuses or drops the unsolicited, and whether it has hairpin, is of no account here.
"""

from __future__ import annotations

import attrs

from holepunch.lab.matrixkind import NATKind
from holepunch.nat.behaviour import Filtering


@attrs.frozen
class Expectation:
    """
    What may be expected of a pair.

    @ivar isPossible: Is there a way that guesses no port?
    @ivar reason: Why, or why not.
    @ivar missing: What would help where it is not possible.
    """

    isPossible: bool
    reason: str
    missing: str = ""


def isReachable(target: NATKind, origin: NATKind) -> bool:
    """
    Can C{origin} send to the endpoint that C{target} announced, and be let in?
    """
    if target.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    if not target.keepsPort:
        return False
    return target.filtering is Filtering.ADDRESS_DEPENDENT or origin.keepsPort


def expect(alice: NATKind, bob: NATKind) -> Expectation:
    """
    Can these two meet, each behind its own NAT or both on one LAN?
    """
    if alice.isSameLAN or bob.isSameLAN:
        return Expectation(True, "both are on one LAN")
    for target, origin, name in ((bob, alice, "bob"), (alice, bob, "alice")):
        if isReachable(target, origin):
            return Expectation(True, f"{name}'s announced endpoint can be reached")
    return _impossible(alice, bob)


def _impossible(alice: NATKind, bob: NATKind) -> Expectation:
    changing = [kind for kind in (alice, bob) if not kind.keepsPort]
    if len(changing) == 2:
        reason = (
            "both NATs use another port for each destination, and neither lets in who was not"
            " sent to: each side would have to guess the other's port"
        )
    else:
        names = ("alice", "bob") if changing[0] is alice else ("bob", "alice")
        reason = (
            f"{names[0]}'s NAT uses another port for each destination, and {names[1]}'s lets in"
            " only ports that were sent to: that port would have to be guessed"
        )
    if all(kind.isPredictable for kind in changing):
        return Expectation(False, reason, "port prediction, a port mapping, or a relay")
    return Expectation(False, reason, "a port mapping, or a relay: a random port is not foretold")
