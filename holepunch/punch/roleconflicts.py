"""
Repairing conflicts of roles as they show in checks (RFC 8445 sections 7.2.5.1 and 7.3.1.1).

Owns: what a change of the role takes with it: the pairs' priorities, and a line in the trace.
Knows nothing of: how a refusal is sent.
Driven by: L{DatagramChecks} and L{StreamChecks}.
"""

from __future__ import annotations

from holepunch.punch.checklist import CheckList
from holepunch.punch.checks import BuiltCheck, ReceivedCheck
from holepunch.punch.effects import EventKind
from holepunch.punch.journal import Journal
from holepunch.punch.role import Role, RoleVerdict


class RoleConflicts:
    """
    The role of this side, where checks may change it.
    """

    def __init__(self, role: Role, checkList: CheckList, journal: Journal) -> None:
        self._role = role
        self._checkList = checkList
        self._journal = journal

    def admits(self, check: ReceivedCheck, now: float) -> bool:
        """
        May a check be answered with success? If not, its sender has to change its role (487).
        """
        if check.remoteTieBreaker is None:
            return True
        verdict = self._role.judge(check.isFromControlling, check.remoteTieBreaker)
        if verdict is RoleVerdict.SWITCHED:
            self._switched(now)
        return verdict is not RoleVerdict.REFUSED

    def refused(self, built: BuiltCheck, now: float) -> None:
        """
        A check of ours was answered with 487.
        """
        if self._role.refused(built.wasControlling):
            self._switched(now)

    def _switched(self, now: float) -> None:
        self._checkList.recompute()
        detail = "controlling" if self._role.isControlling else "controlled"
        self._journal.trace(now, EventKind.ROLE_SWITCHED, detail=detail)
