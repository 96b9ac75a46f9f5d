"""
What must not be said to anybody who reads along: logs, events, traces, and what is written for
programmers.
"""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from holepunch.cli.trace import TraceWriter
from holepunch.rendezvous.client import RendezvousClient
from holepunch.rendezvous.introduction import Introduction
from holepunch.rendezvous.relay import RelayService
from holepunch.rendezvous.relaygrant import RelayGrant
from tests.peer.test_links import AUTO
from tests.peer.test_staying import StayingTestCase


class SecretsTests(StayingTestCase):
    """
    A session with everything: a relay, a direct path, and a relay that goes away.
    """

    def test_nowhere(self) -> None:
        """
        Neither tickets, nor the passwords of sessions and of the relay, are in a trace, in a log,
        or in what values show of themselves.
        """
        written: list[str] = []

        @implementer(ILogObserver)
        def log(event: LogEvent) -> None:
            written.append(formatEvent(event))
            written.append(repr(event))

        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        introductions: list[Introduction] = []
        grants: list[RelayGrant] = []
        ask, grantFor = RendezvousClient.requestSession, RelayService.grantFor

        def note(client: RendezvousClient, target: str, **fields: Any) -> Deferred[Introduction]:
            def introduce(introduction: Introduction) -> Introduction:
                introductions.append(introduction)
                return introduction

            return ask(client, target, **fields).addCallback(introduce)

        def grant(service: RelayService, *arguments: str) -> RelayGrant:
            grants.append(grantFor(service, *arguments))
            return grants[-1]

        self.patch(RendezvousClient, "requestSession", note)
        self.patch(RelayService, "grantFor", grant)
        heart = self.settle("port-restricted/port-restricted", AUTO, relay=(3480,))
        self.nat("nat-bob").flush()
        heart.beat(20)
        file = io.StringIO()
        for name in ("alice", "bob"):
            writer = TraceWriter(file, self.alice.peerID, name)
            for event in self.network.events[name]:
                writer.observe(event)
                written.append(repr(event))
        written.append(file.getvalue())
        secrets: set[str] = set()
        for each in introductions:
            written.append(repr(each))
            assert each.relayLocal is not None and each.relayRemote is not None
            sides = (each.local, each.remoteCredentials, each.relayLocal, each.relayRemote)
            secrets.update(side.password for side in sides)
            secrets.add(each.ticket.key.decode("ascii"))
        for given in grants:
            written.append(repr(given))
            secrets.add(given.password)
        self.assertGreaterEqual(len(secrets), 7)
        self.assertGreater(len(file.getvalue()), 10_000)
        self.assertEqual([each for each in secrets if any(each in text for text in written)], [])
