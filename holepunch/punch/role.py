"""
Which side nominates: the controlling and the controlled role (RFC 8445 sections 6.1.1 and 7.3.1.1).

Owns: the role, the tie-breaker, and how a conflict of roles is repaired.
Knows nothing of: messages and their encoding; pairs, whose priorities depend on the role.
Driven by: L{DatagramChecks} and L{StreamChecks}.
"""

from __future__ import annotations

import enum

import attrs


class RoleVerdict(enum.Enum):
    """
    What to do about the role that a check claims for the other side.
    """

    AGREED = "the roles differ, as they should"
    SWITCHED = "both had the same role, and we changed ours"
    REFUSED = "both have the same role, and the other side must change (487)"


@attrs.define
class Role:
    """
    The role of this side.

    The tie-breaker stays the same for the whole session, so the two sides' repairs always end: the
    side with the larger one controls.

    @ivar tieBreaker: 64 random bits.
    """

    isControlling: bool
    tieBreaker: int = attrs.field(
        validator=(attrs.validators.ge(0), attrs.validators.lt(1 << 64)), repr=False
    )

    def judge(self, isRemoteControlling: bool, remoteTieBreaker: int) -> RoleVerdict:
        """
        Compare our role with that which an authenticated check claims (RFC 8445 section 7.3.1.1).
        """
        if isRemoteControlling is not self.isControlling:
            return RoleVerdict.AGREED
        shouldControl = self.tieBreaker >= remoteTieBreaker
        if shouldControl is self.isControlling:
            return RoleVerdict.REFUSED
        self.isControlling = shouldControl
        return RoleVerdict.SWITCHED

    def refused(self, wasControlling: bool) -> bool:
        """
        The other side answered 487 to a check that we sent in the role C{wasControlling}.

        @return: Whether the role changed; an answer to a check from before a change does nothing.
        """
        if self.isControlling is not wasControlling:
            return False
        self.isControlling = not wasControlling
        return True
