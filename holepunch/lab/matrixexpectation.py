"""
Which pairs of NATs can be punched by principle, and why the others cannot.

Owns: the answer for a pair of kinds, in words.
Knows nothing of: the rule, which is L{holepunch.nat.forecast}'s; what any program achieves.
Driven by: L{holepunch.lab.matrixresult}; tests hold it against the simulated network.
"""

from __future__ import annotations

import attrs

from holepunch.lab.matrixkind import Flow, NATKind
from holepunch.nat import Protocol
from holepunch.nat.forecast import Outlook, Side, foresee, isReachable


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


def expect(alice: NATKind, bob: NATKind, flow: Flow | None = None) -> Expectation:
    """
    Can these two meet, each behind its own NAT or both on one LAN?

    @param flow: C{None}: by a transport that nothing blocks.
    """
    if alice.isSameLAN or bob.isSameLAN:
        return Expectation(True, "both are on one LAN")
    protocol = None if flow is None else Protocol.UDP if flow is Flow.UDP else Protocol.TCP
    hers = Side.ofBehaviour(alice.behaviour, protocol)
    his = Side.ofBehaviour(bob.behaviour, protocol)
    for side, name in ((hers, "alice"), (his, "bob")):
        if side.isBlocked:
            return Expectation(
                False, f"{name}'s network lets nothing of the kind through", "a relay"
            )
    for target, origin, name in ((his, hers, "bob"), (hers, his, "alice")):
        if isReachable(target, origin):
            return Expectation(True, f"{name}'s announced endpoint can be reached")
    return _impossible(hers, his)


def _impossible(hers: Side, his: Side) -> Expectation:
    if not hers.keepsEndpoint and not his.keepsEndpoint:
        reason = (
            "both NATs use another port for each destination, and neither lets in who was not"
            " sent to: each side would have to guess the other's port"
        )
    else:
        names = ("bob", "alice") if hers.keepsEndpoint else ("alice", "bob")
        reason = (
            f"{names[0]}'s NAT uses another port for each destination, and {names[1]}'s lets in"
            " only ports that were sent to: that port would have to be guessed"
        )
    if foresee(hers, his).outlook is Outlook.GUESS:
        return Expectation(False, reason, "port prediction, a port mapping, or a relay")
    return Expectation(False, reason, "a port mapping, or a relay: a random port is not foretold")
