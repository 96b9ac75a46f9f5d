"""
Fetch a page with twisted.web.client, three times at once, over an endpoint given as a string.
"""

import sys

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


@implementer(IAgentEndpointFactory)
class OneEndpoint:
    """
    Leads everywhere by the same endpoint.
    """

    def __init__(self, reactor: object, description: str) -> None:
        self.reactor = reactor
        self.description = description

    def endpointForURI(self, uri: object) -> object:
        return clientFromString(self.reactor, self.description)


async def main(reactor: object, description: str) -> None:
    agent = Agent.usingEndpointFactory(reactor, OneEndpoint(reactor, description))
    fetching = [agent.request(b"GET", b"http://web/page.html") for _ in range(3)]
    for response in await gatherResults(fetching):
        sys.stdout.write((await readBody(response)).decode())


if __name__ == "__main__":
    task.react(
        lambda reactor, description: Deferred.fromCoroutine(main(reactor, description)),
        sys.argv[1:],
    )
