"""
Invitations: two people share a short code, and their peers learn each other's keys by it.

The code never travels. From it both sides agree on a key by SPAKE2, in which one guess can be tried
for each time that a side takes part; and a side takes part once for each code. What they then tell
each other is sealed with that key, so neither the service nor anybody else can read it, alter it,
or put in something of its own.

Owns: codes, the exchange of one side, and what is told.
Knows nothing of: the way of a message (L{holepunch.rendezvous.mailbox}).
Driven by: L{holepunch.peer.invitation}.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from spake2 import SPAKE2_A, SPAKE2_B

from holepunch.errors import BadInvitation, HolepunchError, InvitationFailed
from holepunch.identity import PeerID
from holepunch.rendezvous.invitationwords import WORDS
from holepunch.rendezvous.registry import checkName

_PURPOSE = b"holepunch invitation 1"
_HALF = 33
_LARGEST = 600
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z")

WRONG_CODE = (
    "the codes on the two sides differ, so somebody mistyped or guessed: this invitation is void,"
    " make a new one"
)


@attrs.frozen
class InvitationCode:
    """
    A code such as C{7-crossword-atlas}.

    @ivar nameplate: The number of the mailbox.
    @ivar words: The secret.
    """

    nameplate: int
    words: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def make(cls, nameplate: int, randomBytes: Callable[[int], bytes]) -> InvitationCode:
        """
        Choose the words.
        """
        number = int.from_bytes(randomBytes(4), "big")
        return cls(nameplate, (WORDS[number % 512], WORDS[number // 512 % 512]))

    @classmethod
    def parse(cls, text: str) -> InvitationCode:
        """
        Read a code as a person types it: in any case, with dashes or spaces.

        @raise BadInvitation: It is none. What is misspelt is found out here, and wastes no guess.
        """
        number, *words = re.split(r"[\s-]+", text.strip().lower()[:200])
        if not _NUMBER.match(number) or len(words) != 2:
            raise BadInvitation
        for word in words:
            if word not in WORDS:
                near = difflib.get_close_matches(word, WORDS, 1)
                hint = f": is it {near[0]}?" if near else ""
                raise BadInvitation(f"{word[:40]!r} is no word of an invitation code{hint}")
        return cls(int(number), tuple(words))

    def __str__(self) -> str:
        return "-".join((str(self.nameplate), *self.words))


@attrs.frozen(kw_only=True)
class Greeting:
    """
    What a side tells the other one.

    @ivar peerID: Who it is.
    @ivar name: What it would like to be called, if anything.
    @ivar isConnecting: Does it want to be connected at once?
    """

    peerID: PeerID
    name: str | None = None
    isConnecting: bool = True

    def encode(self) -> bytes:
        """
        JSON, before it is sealed.
        """
        fields = {"peer": self.peerID.text, "name": self.name, "connect": self.isConnecting}
        return json.dumps(fields).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Greeting:
        """
        The way back.

        @raise InvitationFailed: It makes no sense.
        """
        try:
            fields = json.loads(data)
            peerID, name, isConnecting = fields["peer"], fields["name"], fields["connect"]
            if not isinstance(isConnecting, bool):
                raise ValueError
            return cls(
                peerID=PeerID(peerID),
                name=None if name is None else checkName(name),
                isConnecting=isConnecting,
            )
        except (HolepunchError, ValueError, KeyError, TypeError, RecursionError):
            raise InvitationFailed("what the other side said makes no sense") from None


class InvitationExchange:
    """
    One side of an exchange. The one who accepts speaks first::

        accepts  → invites    half
        invites  → accepts    half, sealed greeting
        accepts  → invites    sealed greeting

    @ivar half: What this side has to tell ahead of its greeting.
    """

    def __init__(
        self, code: InvitationCode, isInviting: bool, randomBytes: Callable[[int], bytes]
    ) -> None:
        kind = SPAKE2_A if isInviting else SPAKE2_B
        secret = b"%s\0%s" % (_PURPOSE, str(code).encode("ascii"))
        self._spake = kind(secret, entropy_f=randomBytes)
        self._isInviting = isInviting
        self._key: bytes | None = None
        self.half: bytes = self._spake.start()

    def receiveHalf(self, half: bytes) -> None:
        """
        Take the other side's half.

        @raise InvitationFailed: It is none.
        """
        if len(half) != _HALF or self._key is not None:
            raise InvitationFailed("what the other side said makes no sense")
        try:
            self._key = self._spake.finish(half)
        except Exception:
            # The library names many, and plain ones among them.
            raise InvitationFailed("what the other side said makes no sense") from None

    def seal(self, greeting: Greeting) -> bytes:
        """
        Seal our greeting; once.
        """
        return self._box(self._isInviting).encrypt(bytes(12), greeting.encode(), None)

    def open(self, sealed: bytes) -> Greeting:
        """
        Open the other side's greeting.

        @raise InvitationFailed: It was sealed by somebody who has not the same code, or makes no
            sense.
        """
        try:
            data = self._box(not self._isInviting).decrypt(bytes(12), sealed[:_LARGEST], None)
        except InvalidTag:
            raise InvitationFailed(WRONG_CODE) from None
        return Greeting.decode(data)

    def _box(self, isInviting: bool) -> ChaCha20Poly1305:
        if self._key is None:
            raise InvitationFailed("the other side has not said its part yet")
        # A key of its own for each direction, so that each seals once, and none is reflected.
        purpose = _PURPOSE + (b": inviting" if isInviting else b": accepting")
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(self._key)
        return ChaCha20Poly1305(key)


def splitFirst(body: bytes) -> tuple[bytes, bytes]:
    """
    Take what the inviting side says apart: its half, and its sealed greeting.
    """
    return body[:_HALF], body[_HALF:]
