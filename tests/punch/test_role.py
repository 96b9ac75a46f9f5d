"""
Tests of L{holepunch.punch.role}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.punch.role import Role, RoleVerdict

tieBreakers = st.integers(0, (1 << 64) - 1)


class RoleTests(SynchronousTestCase):
    """
    Repairing conflicts.
    """

    def test_agreed(self) -> None:
        """
        Different roles are no conflict.
        """
        self.assertIs(Role(True, 1).judge(False, 9), RoleVerdict.AGREED)
        self.assertIs(Role(False, 1).judge(True, 0), RoleVerdict.AGREED)

    @given(st.booleans(), tieBreakers, tieBreakers)
    def test_repaired(self, isControlling: bool, mine: int, others: int) -> None:
        """
        After one check that shows a conflict, and its answer, exactly one side controls: the one
        with the larger tie-breaker.
        """
        if mine == others:
            return
        alice, bob = Role(isControlling, mine), Role(isControlling, others)
        if bob.judge(alice.isControlling, alice.tieBreaker) is RoleVerdict.REFUSED:
            self.assertTrue(alice.refused(isControlling))
        self.assertEqual((alice.isControlling, bob.isControlling), (mine > others, mine < others))

    def test_lateRefusal(self) -> None:
        """
        A refusal of a check from before a change of the role does not change it back.
        """
        role = Role(True, 1)
        self.assertTrue(role.refused(True))
        self.assertFalse(role.refused(True))
        self.assertFalse(role.isControlling)

    def test_limit(self) -> None:
        """
        The tie-breaker has 64 bits.
        """
        self.assertRaises(ValueError, Role, True, 1 << 64)
