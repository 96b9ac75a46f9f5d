"""
Tests of L{holepunch.punch.session}: its inputs in any order, misuse, and the states.
"""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import Transport, TransportAddress
from holepunch.errors import LocalProtocolError
from holepunch.punch import (
    Candidate,
    CandidateType,
    CloseConnection,
    ConnectFailure,
    Credentials,
    Effect,
    OpenConnection,
    PathSelected,
    PunchSession,
    SendDatagram,
    SendStream,
    SessionConfig,
    SessionFailed,
    SessionState,
    StartStream,
    StreamData,
    TCPFlow,
    gatheredCandidate,
)
from holepunch.punch.checks import Authenticator
from holepunch.punch.role import Role
from holepunch.punch.sessionstate import SESSION_TRANSITIONS, SessionEvent
from holepunch.stun import Rfc4571Framer, decode, frameRfc4571
from tests.punch.station import ALICE, BOB, BOTH, TCP, UDP
from tests.punch.wire import address

BASE = address("10.0.0.2:5000")
PEER = address("203.0.113.2:5000")


def config(isControlling: bool = True, **more: object) -> SessionConfig:
    """
    A configuration for this side, which is Alice.
    """
    given: dict[str, object] = {
        "isControlling": isControlling,
        "localCredentials": ALICE,
        "remoteCredentials": BOB,
        "randomBytes": random.Random(1).randbytes,
        "transports": BOTH,
        **more,
    }
    return SessionConfig(**given)  # type: ignore[arg-type]


def host(at: TransportAddress, transport: Transport) -> Candidate:
    """
    A host candidate.
    """
    return gatheredCandidate(CandidateType.HOST, transport, at)


def ready(
    isControlling: bool = True, transports: frozenset[Transport] = TCP, **more: object
) -> PunchSession:
    """
    A session with one pair for each transport, whose first effects are not taken yet.
    """
    session = PunchSession(config(isControlling, transports=transports, **more), 100.0)
    for transport in sorted(transports, key=lambda transport: transport.value):
        session.addLocalCandidate(host(BASE, transport), 100.0)
        session.addRemoteCandidate(host(PEER, transport), 100.0)
    return session


class Bob:
    """
    The other side's way of making and answering checks.
    """

    def __init__(self, isControlling: bool = False, tieBreaker: int = 1) -> None:
        self.authenticator = Authenticator(
            BOB, Role(isControlling, tieBreaker), random.Random(2).randbytes
        )
        self.authenticator.setRemote(ALICE)

    def check(self, isNominating: bool = False) -> bytes:
        """
        A check.
        """
        return self.authenticator.build(host(PEER, Transport.TCP), isNominating).data

    def answer(self, data: bytes) -> bytes:
        """
        The success response to a check of Alice.
        """
        request = self.authenticator.readRequest(decode(data))
        assert request is not None
        return self.authenticator.buildSuccess(request, BASE)


def sent(effects: list[Effect]) -> list[bytes]:
    """
    The messages among the effects, of either transport.
    """
    found = []
    for effect in effects:
        if isinstance(effect, SendDatagram):
            found.append(effect.data)
        elif isinstance(effect, SendStream):
            found += Rfc4571Framer().feed(effect.data)
    return found


class MisuseTests(SynchronousTestCase):
    """
    What only a wrong driver does.
    """

    def test_unknownConnection(self) -> None:
        """
        A connection that the session never heard of is an error of the driver.
        """
        session = ready()
        self.assertRaises(LocalProtocolError, session.connectionMade, 7, BASE, 100.0)
        self.assertRaises(LocalProtocolError, session.receiveStream, 0, b"", 100.0)
        self.assertRaises(LocalProtocolError, session.connectionLost, -1, 100.0)

    def test_madeTwice(self) -> None:
        """
        A connection is made once.
        """
        session = ready()
        session.connectionMade(1, BASE, 100.1)
        self.assertRaises(LocalProtocolError, session.connectionMade, 1, BASE, 100.1)

    def test_credentialsChange(self) -> None:
        """
        The remote credentials may be repeated, but not changed.
        """
        session = ready()
        session.setRemoteCredentials(BOB, 100.0)
        other = Credentials("eve0", "p" * 22)
        self.assertRaises(LocalProtocolError, session.setRemoteCredentials, other, 100.0)

    def test_probe(self) -> None:
        """
        There is nothing to probe before a path over UDP is selected.
        """
        self.assertRaises(LocalProtocolError, ready().probe, 100.0)

    def test_table(self) -> None:
        """
        From every state a session can be closed, and no end has another way out.
        """
        for state in SessionState:
            self.assertIs(SESSION_TRANSITIONS[state, SessionEvent.CLOSE], SessionState.CLOSED)
            ways = [event for (origin, event) in SESSION_TRANSITIONS if origin is state]
            self.assertEqual(ways == [SessionEvent.CLOSE], state.isOver)

    def test_config(self) -> None:
        """
        Numbers that make no sense are refused when the configuration is made.
        """
        for name, value in (
            ("keepaliveInterval", 15.1),
            ("keepaliveInterval", 0.0),
            ("checkPacing", 0.001),
            ("timeout", -1.0),
            ("connectTries", 0),
            ("transports", ()),
        ):
            self.assertRaises(ValueError, config, **{name: value})


class NominationTests(SynchronousTestCase):
    """
    Nomination over TCP, message by message.
    """

    def test_optimistic(self) -> None:
        """
        The controlling side's first check nominates, and the stream begins behind it; the answer
        selects; what follows the answer in the same bytes is of the stream.
        """
        session, bob = ready(), Bob()
        session.takeEffects()
        session.connectionMade(1, BASE, 100.1)
        effects = session.takeEffects()
        kinds = [type(e) for e in effects if isinstance(e, (SendStream, StartStream))]
        self.assertEqual(kinds, [SendStream, StartStream])
        (check,) = sent(effects)
        session.receiveStream(1, frameRfc4571(bob.answer(check)) + b"rest", 100.2)
        tail = session.takeEffects()[-2:]
        self.assertIsInstance(tail[0], PathSelected)
        self.assertEqual(getattr(tail[1], "data", None), b"rest")
        self.assertIsNone(session.nextTimeout())

    def test_crossing(self) -> None:
        """
        A check of the controlled side that crosses the nominating one is not answered: nothing may
        follow that but the stream.
        """
        session, bob = ready(), Bob()
        session.connectionMade(1, BASE, 100.1)
        (check,) = sent(session.takeEffects())
        session.receiveStream(1, frameRfc4571(bob.check()), 100.2)
        self.assertEqual(sent(session.takeEffects()), [])
        session.receiveStream(1, frameRfc4571(bob.answer(check)), 100.2)
        self.assertIs(session.state, SessionState.SELECTED)

    def test_controlled(self) -> None:
        """
        The controlled side answers the nominating check, and hands over all that follows it, be the
        bytes cut wherever they may.
        """
        bob = Bob(isControlling=True)
        data = frameRfc4571(bob.check()) + frameRfc4571(bob.check(True)) + b"client hello"
        for size in (1, 7, len(data)):
            session = ready(isControlling=False)
            session.takeEffects()
            id = session.connectionAccepted(BASE, PEER, 100.1)
            for at in range(0, len(data), size):
                session.receiveStream(id, data[at : at + size], 100.2)
            effects = session.takeEffects()
            self.assertEqual(len(sent(effects)), 2)
            stream = [e.data for e in effects if isinstance(e, StreamData)]
            self.assertEqual(b"".join(stream), b"client hello")
            self.assertIn(CloseConnection(1), effects)

    def test_acceptedOnce(self) -> None:
        """
        The controlled side accepts one nomination: the second is neither answered nor selected.
        """
        session, bob = ready(isControlling=False, transports=BOTH), Bob(isControlling=True)
        session.takeEffects()
        session.receiveDatagram(BASE, PEER, bob.check(True), 100.1)
        session.takeEffects()
        id = session.connectionAccepted(BASE, PEER, 100.2)
        session.receiveStream(id, frameRfc4571(bob.check(True)), 100.2)
        self.assertEqual(sent(session.takeEffects()), [])
        self.assertIs(session.state, SessionState.CHECKING)

    def test_answerDecides(self) -> None:
        """
        After a nomination over TCP that nobody answered in time, one over UDP is selected only when
        it is answered; an answer on the connection wins if it comes first.
        """
        for isLate in (True, False):
            session, bob = ready(transports=BOTH), Bob()
            (udp,) = sent(session.takeEffects())
            session.connectionMade(1, BASE, 100.1)
            (tcp,) = sent(session.takeEffects())
            session.receiveDatagram(BASE, PEER, bob.answer(udp), 100.1)
            session.handleTimeout(100.11)
            self.assertEqual(sent(session.takeEffects()), [])
            session.handleTimeout(100.5)
            nominating = sent(session.takeEffects())[-1]
            self.assertIs(session.state, SessionState.CHECKING)
            if isLate:
                session.receiveStream(1, frameRfc4571(bob.answer(tcp)), 100.6)
            else:
                session.receiveDatagram(BASE, PEER, bob.answer(nominating), 100.6)
            path = session.selectedPath
            assert path is not None
            self.assertIs(path.transport, Transport.TCP if isLate else Transport.UDP)

    def test_abandoned(self) -> None:
        """
        An attempt is abandoned when the same two addresses are connected from the other side.
        """
        session = ready()
        self.assertIn(OpenConnection(1, BASE, PEER), session.takeEffects())
        session.connectionAccepted(BASE, PEER, 100.1)
        self.assertIn(CloseConnection(1), session.takeEffects())

    def test_lostAfterwards(self) -> None:
        """
        A selected connection that breaks before the driver took it over is a lost path.
        """
        session, bob = ready(), Bob()
        session.connectionMade(1, BASE, 100.1)
        (check,) = sent(session.takeEffects())
        session.receiveStream(1, frameRfc4571(bob.answer(check)), 100.2)
        session.connectionLost(1, 100.3)
        self.assertIs(session.state, SessionState.LOST)

    def test_asymmetric(self) -> None:
        """
        An answer from another address than was asked does not make a pair valid.
        """
        session, bob = ready(transports=UDP), Bob()
        (check,) = sent(session.takeEffects())
        session.receiveDatagram(BASE, address("203.0.113.2:5001"), bob.answer(check), 100.1)
        self.assertFalse(session.pairs[0].hasSucceeded)
        self.assertIsNone(session.selectedPath)

    def test_lostConfirmation(self) -> None:
        """
        A nomination over UDP that is never answered is a lost path.
        """
        session, bob = ready(transports=UDP), Bob()
        (check,) = sent(session.takeEffects())
        session.receiveDatagram(BASE, PEER, bob.answer(check), 100.1)
        self.assertIs(session.state, SessionState.SELECTED)
        while (at := session.nextTimeout()) is not None:
            session.handleTimeout(at)
        self.assertIs(session.state, SessionState.LOST)

    def test_timeout(self) -> None:
        """
        Without a path, the session fails at its time-out and not later, and closes everything.
        """
        session = ready(transports=BOTH, timeout=8.0)
        at = 0.0
        while (due := session.nextTimeout()) is not None:
            at = due
            session.handleTimeout(at)
        self.assertEqual(at, 108.0)
        effects = session.takeEffects()
        self.assertIsInstance(effects[-1], SessionFailed)
        opened = {e.connection for e in effects if isinstance(e, OpenConnection)}
        closed = {e.connection for e in effects if isinstance(e, CloseConnection)}
        self.assertEqual(opened, closed)


@st.composite
def noises(draw: st.DrawFn) -> bytes:
    """
    Bytes as they may come from anybody, the peer included.
    """
    bob = Bob(draw(st.booleans()), draw(st.sampled_from((0, 1, (1 << 64) - 1))))
    data = draw(st.sampled_from((bob.check(), bob.check(True), b"\x16stream", b"")))
    if draw(st.booleans()):
        data = frameRfc4571(data)
    if draw(st.booleans()):
        data += draw(st.binary(max_size=30))
    if draw(st.booleans()) and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    return data


addresses = st.sampled_from((PEER, address("203.0.113.2:5001"), address("198.51.100.9:9")))
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("datagram", "made", "failed", "accepted", "stream", "lost", "ready", "answer")
        ),
        st.integers(0, 3),
        addresses,
        noises(),
        st.sampled_from((0.0, 0.01, 0.3, 2.0)),
    ),
    max_size=30,
)


class Network:
    """
    Whatever happens to one session, and what it asks for in the meantime.

    @ivar connecting: Attempts under way.
    @ivar open: Connections that are established.
    @ivar selected: The one that was handed over.
    @ivar asked: The messages that the session sent.
    """

    def __init__(self, session: PunchSession, bob: Bob) -> None:
        self.session = session
        self.bob = bob
        self.now = 100.0
        self.connecting: set[int] = set()
        self.open: set[int] = set()
        self.selected: int | None = None
        self.asked: list[bytes] = []

    def carryOut(self) -> None:
        """
        Take the effects; none may be about a connection that there is not.
        """
        for effect in self.session.takeEffects():
            match effect:
                case OpenConnection():
                    self.connecting.add(effect.connection)
                case CloseConnection():
                    (self.connecting if effect.connection in self.connecting else self.open).remove(
                        effect.connection
                    )
                case PathSelected():
                    self.selected = effect.path.connection
                case SendStream() | StartStream():
                    assert effect.connection in self.open
            self.asked += sent([effect])

    def wait(self, seconds: float) -> None:
        """
        Let time go by, with all its timers.
        """
        self.now += seconds
        rounds = 0
        while (due := self.session.nextTimeout()) is not None and due <= self.now:
            self.session.handleTimeout(due)
            rounds += 1
            assert rounds < 1000, "the session never comes to rest"
        self.carryOut()

    def happen(self, kind: str, number: int, remote: TransportAddress, noise: bytes) -> None:
        """
        Let one thing happen, if it can.
        """
        session, now = self.session, self.now
        held = sorted(self.open - {self.selected})
        chosen = held[number % len(held)] if held else 0
        if kind == "datagram":
            session.receiveDatagram(BASE, remote, noise, now)
        elif kind == "ready":
            session.remoteReady(now)
        elif kind == "accepted":
            self.open.add(session.connectionAccepted(BASE, remote, now))
        elif kind == "made" and self.connecting:
            id = self.connecting.pop()
            self.open.add(id)
            session.connectionMade(id, BASE, now)
        elif kind == "failed" and self.connecting:
            session.connectFailed(self.connecting.pop(), list(ConnectFailure)[number], now)
        elif kind == "stream" and held:
            session.receiveStream(chosen, noise, now)
        elif kind == "lost" and held:
            self.open.remove(chosen)
            session.connectionLost(chosen, now)
        elif kind == "answer" and held and self.asked:
            request = self.bob.authenticator.readRequest(decode(self.asked[-1]))
            if request is not None:
                answer = self.bob.authenticator.buildSuccess(request, BASE)
                session.receiveDatagram(BASE, remote, answer, now)
                session.receiveStream(chosen, frameRfc4571(answer), now)
        self.carryOut()


class AnyOrderTests(SynchronousTestCase):
    """
    Inputs of the network in any order.
    """

    @settings(max_examples=300, deadline=None)
    @given(st.booleans(), st.sampled_from(TCPFlow), st.booleans(), steps)
    def test_anyOrder(
        self,
        isControlling: bool,
        flow: TCPFlow,
        isRequester: bool,
        steps: list[tuple[str, int, TransportAddress, bytes, float]],
    ) -> None:
        """
        Nothing that the network does raises; time goes on; in the end every connection is closed,
        or handed over, and no timer is left.
        """
        session = ready(isControlling, BOTH, tcpFlow=flow, isRequester=isRequester)
        network = Network(session, Bob(not isControlling))
        network.carryOut()
        for kind, number, remote, noise, seconds in steps:
            network.wait(seconds)
            network.happen(kind, number, remote, noise)
        network.wait(90.0)
        session.close("the end", network.now)
        network.carryOut()
        self.assertEqual(network.connecting, set())
        self.assertLessEqual(network.open, {network.selected})
        self.assertIsNone(session.nextTimeout())
