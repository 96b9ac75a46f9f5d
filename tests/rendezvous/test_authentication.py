"""
Tests for L{holepunch.rendezvous.authentication}: logins over real main connections.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    FilePasswordDB,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from holepunch.errors import (
    LoginFailed,
    LoginRequired,
    LoginUnsupported,
    MalformedMessage,
    NameTaken,
    RendezvousError,
    ServiceNotProven,
    TooManyRequests,
    UsageError,
)
from holepunch.identity import Identity
from holepunch.interfaces import INameOwners, IPasswordProof
from holepunch.rendezvous import (
    Authority,
    LoginCredentials,
    MemoryRegistry,
    NameOwners,
    NameOwnersFile,
    PasswordFile,
    RendezvousClient,
)
from holepunch.rendezvous.authentication import LoginProof
from holepunch.rendezvous.commands import BeginLogin, FinishLogin
from holepunch.rendezvous.scram import Cost, StoredPassword
from tests.rendezvous.network import ALICE, BOB, CAROL, SERVICE, Network, NetworkTestCase
from tests.rendezvous.test_scram import CHEAP, EXCHANGE, SALTED, STORED

SECRET = "correct horse battery"


def passwordFile(path: str, **users: str) -> PasswordFile:
    file = PasswordFile(path)
    for user, password in users.items():
        file.setPassword(user, StoredPassword.make(password, os.urandom, CHEAP))
    return file


class LoginTestCase(NetworkTestCase):
    """
    A service with users.
    """

    def makeNetwork(self) -> Network:
        network = Network()
        network.service.exchange.authority = self.makeAuthority(
            passwordFile(self.mktemp(), alice=SECRET)
        )
        return network

    def makeAuthority(self, *checkers: Any, cost: Cost = CHEAP) -> Authority:
        return Authority(object(), checkers, SERVICE, cost=cost)

    def use(self, *checkers: Any) -> None:
        self.network.service.exchange.authority = self.makeAuthority(*checkers)

    def login(
        self, user: str = "alice", password: str = SECRET, client: RendezvousClient | None = None
    ) -> Deferred[None]:
        client = client if client is not None else self.network.connect()
        return client.login(LoginCredentials(user, password))

    def refusal(self, user: str, password: str) -> tuple[type[Exception], str, float]:
        """
        How, in which words, and after how many seconds somebody is refused.
        """
        client = self.network.connect()
        startedAt = self.network.clock.seconds()
        error = self.assertFails(self.login(user, password, client), RendezvousError)
        seconds = round(self.network.clock.seconds() - startedAt, 3)
        client.goodbye()
        self.network.advance(0.1)
        return type(error), str(error), seconds


class LoginTests(LoginTestCase):
    """
    Who gets in, and who does not.
    """

    def test_right(self) -> None:
        """
        A user who knows the password registers; nobody registers without a login.
        """
        client = self.network.connect()
        self.assertFails(client.register(), LoginRequired)
        self.waitFor(self.login(client=client))
        self.waitFor(client.register(name="web"))
        registration = self.network.service.exchange.registry.find("web")
        self.assertEqual(registration.owner, "alice")

    def test_wrong(self) -> None:
        """
        A wrong password and a user that there is not are refused with the same words, in the same
        time.
        """
        wrong = self.refusal("alice", "wrong")
        self.assertEqual(wrong, self.refusal("nobody", "wrong"))
        self.assertIs(wrong[0], LoginFailed)
        self.assertGreaterEqual(wrong[2], 1.0)

    def test_challenges(self) -> None:
        """
        The challenge for a user that there is not looks like any other one, is the same each time,
        and after a restart, and another one at another service.
        """
        authority = self.network.service.exchange.authority
        assert authority is not None
        real = authority.challenge("alice", "n" * 24, b"")
        fake = authority.challenge("nobody", "n" * 24, b"")
        self.assertEqual((len(real.salt), real.cost), (len(fake.salt), fake.cost))
        self.assertNotEqual(fake.nonce, authority.challenge("nobody", "n" * 24, b"").nonce)
        checker = passwordFile(self.mktemp())
        again = self.makeAuthority(checker).challenge("nobody", "n" * 24, b"")
        self.assertEqual(again.salt, fake.salt)
        other = Authority(object(), [checker], Identity.generate(), cost=CHEAP)
        self.assertNotEqual(other.challenge("nobody", "n" * 24, b"").salt, fake.salt)

    def test_severalFiles(self) -> None:
        """
        All password files are looked at for a challenge, also when the first one has the user.
        """
        asked: list[str] = []

        class Noting(PasswordFile):
            def storedPassword(self, user: str) -> StoredPassword | None:
                asked.append(user)
                return super().storedPassword(user)

        paths = [self.mktemp(), self.mktemp()]
        for path in paths:
            passwordFile(path, alice="secret")
        authority = self.makeAuthority(*map(Noting, paths))
        for user in ("alice", "nobody"):
            authority.challenge(user, "n" * 24, b"")
        self.assertEqual(asked, ["alice", "alice", "nobody", "nobody"])

    def test_work(self) -> None:
        """
        Where checkers hold the passwords themselves, a refusal takes the same work for a user that
        there is and one that there is not.
        """
        self.use(InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret"))
        authority = self.network.service.exchange.authority
        assert authority is not None
        seconds: dict[str, list[float]] = {"alice": [], "nobody": []}
        for number in range(7):
            for user, taken in seconds.items():
                exchange = authority.challenge(user, "n" * 24, b"")
                startedAt = time.perf_counter()
                peerID, host = Identity.generate().peerID, f"192.0.2.{number}"
                failing = authority.login(exchange, bytes(32), peerID, host, number * 1e6)
                self.failureResultOf(failing, LoginFailed)
                taken.append(time.perf_counter() - startedAt)
        known, unknown = (statistics.median(each) for each in seconds.values())
        self.assertLess(max(known, unknown), 2 * min(known, unknown))

    def test_unsupported(self) -> None:
        """
        Who logs in at a service without users is told so.
        """
        self.network.service.exchange.authority = None
        self.assertFails(self.login(), LoginUnsupported)

    def test_knownPasswords(self) -> None:
        """
        Twisted's own checkers, which hold passwords as text or bytes, check a login, too.
        """
        file = Path(self.mktemp())
        file.write_bytes(b"bob:b s\ncarol:\xc3\xa9\n")
        text = InMemoryUsernamePasswordDatabaseDontUse()
        text.users = {"dave": "secret"}  # type: ignore[dict-item]
        self.use(
            FilePasswordDB(str(file)),
            InMemoryUsernamePasswordDatabaseDontUse(erin=b"secret"),
            text,
            passwordFile(self.mktemp(), alice=SECRET),
        )
        for user, password in (
            ("bob", "b s"),
            ("carol", "\u00e9"),
            ("dave", "secret"),
            ("erin", "secret"),
            ("alice", SECRET),
        ):
            self.waitFor(self.login(user, password))
            self.assertIs(self.refusal(user, "wrong")[0], LoginFailed)

    def test_brokenChecker(self) -> None:
        """
        A checker that fails, or lets in without looking at the proof, lets nobody in.
        """

        class Broken:
            credentialInterfaces = (IPasswordProof,)

            def requestAvatarId(self, credentials: Any) -> Any:
                raise ZeroDivisionError

        class Careless:
            credentialInterfaces = (IPasswordProof,)

            def requestAvatarId(self, credentials: Any) -> Any:
                return "root"

        self.use(Broken(), Careless())
        self.assertIs(self.refusal("alice", SECRET)[0], LoginFailed)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_brokenFile(self) -> None:
        """
        With a password file that was spoilt, nobody gets in, in the usual words.
        """
        path = self.mktemp()
        self.use(passwordFile(path, alice=SECRET))
        Path(path).write_text("scribble\n")
        self.assertIs(self.refusal("alice", SECRET)[0], LoginFailed)

    def test_unusableCheckers(self) -> None:
        """
        A checker that needs the password on the wire, or has only hashes of it, is refused at once.
        """
        file = Path(self.mktemp())
        for line in (b"alice:$6$salt$hash", b"alice:{SSHA}hash"):
            file.write_bytes(line + b"\n")
            error = self.assertRaises(UsageError, self.makeAuthority, FilePasswordDB(str(file)))
            self.assertIn("hashed passwords", str(error))
        hashing = FilePasswordDB(str(file), hash=lambda *each: b"")
        self.assertEqual(hashing.credentialInterfaces, (IUsernamePassword,))
        for checker in (hashing, AllowAnonymousAccess(), FilePasswordDB("/missing")):
            self.assertRaises(UsageError, self.makeAuthority, checker)


class AbuseTests(LoginTestCase):
    """
    Logins at speed, and out of order.
    """

    def fail_(self, count: int, user: str, host: str, at: float = 0.0) -> list[type[Exception]]:
        authority = self.network.service.exchange.authority
        assert authority is not None
        kinds: list[type[Exception]] = []
        for _ in range(count):
            exchange = authority.challenge(user, "n" * 24, b"")
            peerID = Identity.generate().peerID
            failing = authority.login(exchange, bytes(32), peerID, host, at)
            kinds.append(type(self.failureResultOf(failing).value))
        return kinds

    def test_perUser(self) -> None:
        """
        From however many addresses, a name can be guessed at ten times, then once a minute, whether
        there is such a user or not.
        """
        for user in ("alice", "nobody"):
            kinds = [self.fail_(1, user, f"192.0.{number}.1")[0] for number in range(12)]
            self.assertEqual(kinds, [LoginFailed] * 10 + [TooManyRequests] * 2)
            self.assertEqual(self.fail_(2, user, "198.51.100.1", 60.0)[0], LoginFailed)

    def test_perAddress(self) -> None:
        """
        One address, or one network of IPv6, fails twenty times, whatever the names.
        """
        for hosts in (("192.0.2.1",), ("2001:db8::1", "2001:db8::2")):
            kinds = [
                self.fail_(1, f"user{number}{hosts[0]}", hosts[number % len(hosts)])[0]
                for number in range(22)
            ]
            self.assertEqual(kinds, [LoginFailed] * 20 + [TooManyRequests] * 2)

    def test_notLockedOut(self) -> None:
        """
        Others' guesses do not keep out a peer that has logged in before.
        """
        self.waitFor(self.login())
        self.fail_(20, "alice", "192.0.2.1")
        self.waitFor(self.login())
        stranger = self.network.connect("bob", BOB)
        error = self.assertFails(self.login(client=stranger), TooManyRequests)
        self.assertIn("try again in", str(error))

    def test_threeTries(self) -> None:
        """
        After three failures the connection is closed.
        """
        client = self.network.connect()
        for _ in range(3):
            self.assertFails(self.login("alice", "wrong", client), LoginFailed)
        self.network.advance()
        self.assertIn("too many", str(self.network.events[client].lost[0]))

    def test_order(self) -> None:
        """
        A proof without a challenge, or the same challenge twice, breaks the protocol.
        """
        self.assertFails(
            self.network.connect().request(FinishLogin, proof=bytes(32)), MalformedMessage
        )
        client = self.network.connect()
        self.waitFor(client.request(BeginLogin, user="alice", nonce="n" * 24))
        first = client.request(FinishLogin, proof=bytes(32))
        second = client.request(FinishLogin, proof=bytes(32))
        self.assertFails(second, MalformedMessage)
        first.addErrback(lambda failure: None)

    def test_badValues(self) -> None:
        """
        Names and nonces that make no sense break the protocol.
        """
        for user, nonce in (("a b", "n" * 24), ("alice", "short"), ("alice", "n,n" * 10)):
            client = self.network.connect()
            self.assertFails(client.request(BeginLogin, user=user, nonce=nonce), MalformedMessage)

    def test_replayed(self) -> None:
        """
        A proof that was good on one connection is worth nothing on another one.
        """
        proofs: list[bytes] = []
        client = self.network.connect()
        asked = client.request

        def request(command: Any, **fields: Any) -> Any:
            proofs.extend([fields["proof"]] if "proof" in fields else [])
            return asked(command, **fields)

        client.request = request  # type: ignore[method-assign]
        self.waitFor(self.login(client=client))
        other = self.network.connect("bob", BOB)
        self.waitFor(other.request(BeginLogin, user="alice", nonce="n" * 24))
        self.assertFails(other.request(FinishLogin, proof=proofs[0]), LoginFailed)


class ClientTests(LoginTestCase):
    """
    What a peer believes.
    """

    def answer(self, **changes: Any) -> RendezvousClient:
        """
        A client whose service answers something else.
        """
        client = self.network.connect()
        asked = client.request

        def request(command: Any, **fields: Any) -> Any:
            return asked(command, **fields).addCallback(lambda answer: {**answer, **changes})

        client.request = request  # type: ignore[method-assign]
        return client

    def test_notProven(self) -> None:
        """
        A service that does not know the password, would make it easy to guess, asks for endless
        work, or answers another login, is not believed.
        """
        for changes in (
            {"signature": bytes(32)},
            {"signature": b""},
            {"logN": 4},
            {"logN": 40},
            {"logN": -(10**9)},
            {"p": 0},
            {"salt": b""},
            {"nonce": "n" * 40},
        ):
            error = self.assertFails(self.login(client=self.answer(**changes)), ServiceNotProven)
            self.assertTrue(str(error))

    def test_once(self) -> None:
        """
        The work of salting is done once for many logins.
        """
        credentials = LoginCredentials("alice", SECRET)
        first = credentials.salted(b"s" * 16, CHEAP)
        self.assertIs(credentials.salted(b"s" * 16, CHEAP), first)


class SecrecyTests(LoginTestCase):
    """
    Passwords are nowhere to be seen.
    """

    def test_nowhere(self) -> None:
        """
        A password is not in any message of a login, nor in a log, nor in what is written for
        programmers; the name of a user whose login failed is in no log either.
        """
        said: list[bytes] = []
        logged: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            logged.append(f"{formatEvent(event)} {dict(event)}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        client = self.network.connect()
        sent = client.sendBox

        def send(box: Any) -> None:
            said.append(box.serialize())
            sent(box)

        client.sendBox = send  # type: ignore[method-assign]
        self.assertFails(self.login("hunter22", "hunter22", client), LoginFailed)
        self.waitFor(self.login(client=client))
        self.waitFor(client.register())
        everything = b"".join(said).decode("latin-1") + "".join(logged)
        self.assertIn("user alice logged in", "".join(logged))
        for secret in (SECRET, "correct horse", SECRET.encode().hex()):
            self.assertNotIn(secret, everything)
        self.assertNotIn("hunter22", "".join(logged))
        self.assertNotIn(SECRET, repr(LoginCredentials("alice", SECRET)))

    def test_proof(self) -> None:
        """
        What a checker gets to see are credentials of both kinds, and never the password.
        """
        proof = LoginProof(EXCHANGE, EXCHANGE.prove(SALTED), lambda *each: Deferred(), "alice")
        self.assertTrue(verifyObject(IPasswordProof, proof))
        self.assertTrue(proof.checkStored(STORED))
        self.assertFalse(hasattr(proof, "password"))


class OwnerTests(LoginTestCase):
    """
    Names belong to the user who registered them.
    """

    def test_interface(self) -> None:
        """
        Both memories keep owners, in upper and lower case, and each user has sixteen names at most.
        """
        path = self.mktemp()
        for owners in (NameOwners(), NameOwnersFile(path)):
            self.assertTrue(verifyObject(INameOwners, owners))
            owners.claim("Web", "alice")
            self.assertEqual((owners.ownerOf("wEB"), owners.ownerOf("mail")), ("alice", None))
            for number in range(15):
                owners.claim(f"name{number}", "alice")
            self.assertRaises(NameTaken, owners.claim, "more", "alice")
            owners.claim("more", "bob")
        self.assertEqual(NameOwnersFile(path).ownerOf("more"), "bob")
        self.assertRaises(NameTaken, NameOwnersFile(path).claim, "web", "bob")

    def test_unusable(self) -> None:
        """
        When the list of names cannot be kept, peers learn no path of the service's.
        """
        owners = NameOwnersFile("/dev/null/names")
        error = self.assertRaises(RendezvousError, owners.claim, "web", "alice")
        self.assertNotIn("/dev", str(error))
        broken = Path(self.mktemp())
        broken.write_bytes(b"\xff")
        self.assertRaises(RendezvousError, NameOwnersFile(broken).ownerOf, "web")

    def test_kept(self) -> None:
        """
        A name stays its user's while no peer has it, also after a restart, and comes with the user
        to another peer.
        """
        path = self.mktemp()
        users = passwordFile(self.mktemp(), alice=SECRET, bob="secret")
        self.use(users)
        exchange = self.network.service.exchange
        exchange.registry = MemoryRegistry(NameOwnersFile(path))
        alice = self.network.connect()
        self.waitFor(self.login(client=alice))
        self.waitFor(alice.register(name="web"))
        alice.goodbye()
        self.network.advance()
        exchange.registry = MemoryRegistry(NameOwnersFile(path))
        bob = self.network.connect("bob", BOB)
        self.waitFor(self.login("bob", "secret", bob))
        error = self.assertFails(bob.register(name="Web"), NameTaken)
        self.assertIn("belongs to another user", str(error))
        other = self.network.connect("bob", CAROL)
        self.waitFor(self.login(client=other))
        self.waitFor(other.register(name="web"))


class ThreadTests(SynchronousTestCase):
    """
    Passwords that a checker holds are salted beside the reactor.
    """

    def test_identity(self) -> None:
        """
        Without checkers, nobody logs in.
        """
        authority = Authority(object(), [], ALICE, cost=CHEAP)
        exchange = authority.challenge("alice", "n" * 24, b"")
        failing = authority.login(exchange, bytes(32), BOB.peerID, "192.0.2.1", 0.0)
        self.failureResultOf(failing, LoginFailed)
