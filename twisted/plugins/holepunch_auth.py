"""
Registers C{--auth scram:FILE}. It has no logic and imports nothing heavy: Twisted reads it whenever
it looks for plugins.
"""

from typing import Any

from twisted.cred.strcred import ICheckerFactory
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, ICheckerFactory)
class _PasswordFileFactory:
    authType = "scram"
    authHelp = (
        "A file of users that holepunch passwd writes. It holds no password in readable form."
    )
    argStringFormat = "FILE"

    @property
    def credentialInterfaces(self) -> Any:
        from holepunch.rendezvous.passwords import PasswordFile

        return PasswordFile.credentialInterfaces

    @staticmethod
    def generateChecker(argString: str) -> Any:
        from holepunch.rendezvous.passwords import PasswordFile

        checker = PasswordFile(argString)
        # A file that cannot be used is told at the start, and not at the first login.
        checker.users()
        return checker


passwordFileFactory = _PasswordFileFactory()
