"""
Sessions with aioice, another implementation of ICE, as the other side, over UDP on loopback.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aioice
import aioice.ice
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.punch import (
    Candidate,
    CandidateType,
    Credentials,
    DatagramReceived,
    Path,
    PathLost,
    PathSelected,
    PunchSession,
    SendDatagram,
    SessionConfig,
    SessionFailed,
    gatheredCandidate,
)

OURS = Credentials("ours", "ourpasswordourpasswordour")
THEIRS = Credentials("them", "theirpasswordtheirpassword")
_LIMIT = 10.0


class Adapter(asyncio.DatagramProtocol):
    """
    A driver of one session on one socket, with asyncio.
    """

    transport: asyncio.DatagramTransport
    local: TransportAddress
    candidate: Candidate

    def __init__(self, isControlling: bool, tieBreaker: int | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.selected: asyncio.Future[Path] = self.loop.create_future()
        self.lost: asyncio.Future[str] = self.loop.create_future()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.session = PunchSession(
            SessionConfig(
                isControlling=isControlling,
                localCredentials=OURS,
                remoteCredentials=THEIRS,
                randomBytes=os.urandom,
                tieBreaker=tieBreaker,
                transports=frozenset({Transport.UDP}),
            ),
            self.loop.time(),
        )
        self.timer: asyncio.TimerHandle | None = None

    @classmethod
    async def bound(cls, isControlling: bool, tieBreaker: int | None = None) -> Adapter:
        """
        An adapter with a socket on loopback, whose session has that as its candidate.
        """
        self = cls(isControlling, tieBreaker)
        self.transport, _ = await self.loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.local = TransportAddress(*self.transport.get_extra_info("sockname"))
        self.candidate = gatheredCandidate(CandidateType.HOST, Transport.UDP, self.local)
        self.session.addLocalCandidate(self.candidate, self.loop.time())
        return self

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """
        Feed the session.
        """
        remote = TransportAddress(addr[0], addr[1])
        self.session.receiveDatagram(self.local, remote, data, self.loop.time())
        self.pump()

    def pump(self) -> None:
        """
        Carry out the effects, and arm the timer.
        """
        for effect in self.session.takeEffects():
            match effect:
                case SendDatagram():
                    self.transport.sendto(effect.data, (effect.remote.host, effect.remote.port))
                case PathSelected():
                    if not self.selected.done():
                        self.selected.set_result(effect.path)
                case DatagramReceived():
                    self.heard.put_nowait(effect.data)
                case SessionFailed():
                    self.selected.set_exception(effect.reason)
                case PathLost():
                    self.lost.set_result(effect.reason)
                case _:
                    pass
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        at = self.session.nextTimeout()
        if at is not None:
            self.timer = self.loop.call_at(at, self.timedOut)

    def timedOut(self) -> None:
        """
        Tell the session the time.
        """
        self.session.handleTimeout(self.loop.time())
        self.pump()

    def close(self) -> None:
        """
        End the session and close the socket.
        """
        self.session.close("the end", self.loop.time())
        self.pump()
        self.transport.close()


async def meet(ours: Adapter, theirs: aioice.Connection, isTrickled: bool) -> Path:
    """
    Exchange candidates, and wait until both sides have a path.

    @param isTrickled: We learn of the other side's candidates only by its checks.
    """
    await theirs.gather_candidates()
    theirs.remote_username, theirs.remote_password = OURS.ufrag, OURS.password
    await theirs.add_remote_candidate(aioice.Candidate.from_sdp(ours.candidate.format()))
    await theirs.add_remote_candidate(None)
    if not isTrickled:
        for candidate in theirs.local_candidates:
            parsed = Candidate.parse(candidate.to_sdp())
            ours.session.addRemoteCandidate(parsed, ours.loop.time())
        ours.session.endOfRemoteCandidates(ours.loop.time())
    ours.pump()
    connecting = asyncio.ensure_future(theirs.connect())
    path = await asyncio.wait_for(ours.selected, _LIMIT)
    await asyncio.wait_for(connecting, _LIMIT)
    return path


class AioiceTests(SynchronousTestCase):
    """
    Interoperation over UDP.
    """

    def setUp(self) -> None:
        """
        Let aioice use loopback, which it leaves out otherwise.
        """
        self.patch(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])

    def play(
        self,
        isControlling: bool,
        areTheyControlling: bool,
        then: Callable[[Adapter, aioice.Connection, Path], Awaitable[None]],
        isTrickled: bool = False,
        tieBreaker: int | None = None,
    ) -> None:
        """
        Let the two meet, and go on with C{then}.
        """

        async def main() -> None:
            ours = await Adapter.bound(isControlling, tieBreaker)
            theirs = aioice.Connection(
                ice_controlling=areTheyControlling,
                local_username=THEIRS.ufrag,
                local_password=THEIRS.password,
                use_ipv6=False,
            )
            try:
                path = await meet(ours, theirs, isTrickled)
                await then(ours, theirs, path)
            finally:
                ours.close()
                await theirs.close()

        asyncio.run(main())

    async def exchange(self, ours: Adapter, theirs: aioice.Connection, path: Path) -> None:
        """
        Send data both ways.
        """
        (candidate,) = theirs.local_candidates
        self.assertEqual(path.remote, TransportAddress(candidate.host, candidate.port))
        self.assertEqual(path.localCandidate.address, ours.local)
        ours.transport.sendto(b"ping", (path.remote.host, path.remote.port))
        self.assertEqual(await asyncio.wait_for(theirs.recv(), _LIMIT), b"ping")
        await theirs.send(b"pong")
        self.assertEqual(await asyncio.wait_for(ours.heard.get(), _LIMIT), b"pong")

    def test_controlling(self) -> None:
        """
        We nominate, aioice follows, and data goes both ways.
        """
        self.play(True, False, self.exchange)

    def test_controlled(self) -> None:
        """
        aioice nominates, in every check as it does, we follow, and data goes both ways.
        """
        self.play(False, True, self.exchange)

    def test_trickled(self) -> None:
        """
        We never hear of its candidates but by its checks, in either role.
        """
        self.play(True, False, self.exchange, isTrickled=True)
        self.play(False, True, self.exchange, isTrickled=True)

    def test_roleConflict(self) -> None:
        """
        Whoever has the larger tie-breaker controls, when both want to or neither does.
        """
        for isControlling in (True, False):
            for tieBreaker in (0, (1 << 64) - 1):
                self.checkConflict(isControlling, tieBreaker)

    def checkConflict(self, isControlling: bool, tieBreaker: int) -> None:
        """
        Meet with equal roles, and see who controls.
        """

        async def then(ours: Adapter, theirs: aioice.Connection, path: Path) -> None:
            await self.exchange(ours, theirs, path)
            self.assertIs(ours.session.isControlling, tieBreaker > 0)
            self.assertIs(theirs.ice_controlling, tieBreaker == 0)

        self.play(isControlling, isControlling, then, tieBreaker=tieBreaker)

    def test_consent(self) -> None:
        """
        aioice answers our probes, so consent lasts.
        """

        async def then(ours: Adapter, theirs: aioice.Connection, path: Path) -> None:
            before = ours.session.pairs[0].answeredAt
            assert before is not None
            ours.session.probe(ours.loop.time())
            ours.pump()
            await self.exchange(ours, theirs, path)
            after = ours.session.pairs[0].answeredAt
            assert after is not None
            self.assertGreater(after, before)

        self.play(True, False, then)
