"""
Registers the C{holepunch:} endpoint strings. It has no logic and imports nothing heavy: Twisted
reads it whenever it looks for plugins.
"""

from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _ClientParser:
    prefix = "holepunch"

    @staticmethod
    def parseStreamClient(reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from holepunch.endpoints import parseClient

        return parseClient(reactor, *args, **kwargs)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _ServerParser:
    prefix = "holepunch"

    @staticmethod
    def parseStreamServer(reactor: Any, *args: Any, **kwargs: Any) -> Any:
        from holepunch.endpoints import parseServer

        return parseServer(reactor, *args, **kwargs)


clientParser = _ClientParser()
serverParser = _ServerParser()
