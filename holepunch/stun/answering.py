"""
Answering Binding requests (RFC 8489 section 6.3.1), with NAT behaviour discovery (RFC 5780).

Owns: what is answered to whom, from which of the listeners, and how long the answer may be.
Knows nothing of: sockets; what a ticket means; rate limits.
Driven by: the assist listeners, over UDP and TCP.

An answer over UDP goes to an address that may be forged, so it is kept short. To an unproven source
it has no SOFTWARE, no reason phrase that would make it longer than the request, and no more PADDING
than the request brought. A bare request of 20 bytes is answered by 32 bytes (1.6 times), over IPv6
by 44 (2.2 times); where behaviour discovery is offered, RESPONSE-ORIGIN and OTHER-ADDRESS make that
56 (2.8 times) and 92 (4.6 times); counting the headers of IP and UDP, 1.75 and 2.06 times. Nothing
gets a larger factor, and no request of 100 bytes or more gets an answer that is longer.

RESPONSE-PORT makes the answer go to another port of the requester's own address. Behind a shared
public address that port may be a stranger's, who gets one small datagram that no transaction of his
expects: no more than a forged source port would do. So it is honoured, as clients that measure the
lifetime of mappings need it, but never together with PADDING, for a port below 1024, where services
listen and to which hardly any NAT maps, or for an error. An operator can restrict it to proven
sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from holepunch.address import Transport, TransportAddress
from holepunch.errors import MalformedMessage
from holepunch.stun.attributes import ATTRIBUTES, Attribute, AttributeType
from holepunch.stun.integrity import HEADER_LENGTH
from holepunch.stun.message import Message, MessageClass, Method, ReceivedMessage, decode
from holepunch.stun.values import MAGIC_COOKIE_BYTES, ChangeRequest

_LOWEST_RESPONSE_PORT = 1024
_PLAIN_REQUEST = b"\x00\x01\x00\x00" + MAGIC_COOKIE_BYTES
_packMapped = ATTRIBUTES[AttributeType.XOR_MAPPED_ADDRESS].pack
_BOTH = ChangeRequest.HOST | ChangeRequest.PORT

_REASONS = {400: "Bad Request", 401: "Unauthenticated", 420: "Unknown Attribute"}


@attrs.frozen(kw_only=True)
class Answer:
    """
    One datagram, or one message on a stream, to send in answer to a request.

    @ivar origin: The listener that it must leave from.
    @ivar destination: Where it goes; not always where the request came from (RESPONSE-PORT).
    @ivar mapped: Where the request came from, as the answer tells it.
    @ivar username: Who the request proved to be by a short-term credential.
    @ivar errorCode: Set where the answer is an error response.
    """

    data: bytes = attrs.field(repr=False)
    origin: TransportAddress
    destination: TransportAddress
    mapped: TransportAddress
    username: str | None = None
    errorCode: int | None = None


@attrs.frozen
class _Corners:
    """
    The listeners that an answer may leave from, as seen by one of them (RFC 5780 section 6.1).

    @ivar byChange: The listener for each value of CHANGE-REQUEST that can be served.
    """

    byChange: Mapping[int, TransportAddress]

    @property
    def other(self) -> TransportAddress | None:
        """
        The listener that shares neither host nor port.
        """
        return self.byChange.get(_BOTH)


def _corners(local: TransportAddress, listeners: tuple[TransportAddress, ...]) -> _Corners:
    """
    Complete C{local} to two hosts by two ports, or at least to two ports.

    OTHER-ADDRESS promises both changes, so with one host it is not sent: a client that believed it
    would take every NAT for an endpoint-independent one.
    """
    for other in listeners:
        corners = {
            0: local,
            ChangeRequest.PORT: TransportAddress(local.host, other.port),
            ChangeRequest.HOST: TransportAddress(other.host, local.port),
            _BOTH: other,
        }
        distinct = set(corners.values())
        if other.family is local.family and len(distinct) == 4 and distinct <= set(listeners):
            return _Corners(corners)
    for other in listeners:
        if other.host == local.host and other.port != local.port:
            return _Corners({0: local, ChangeRequest.PORT: other})
    return _Corners({0: local})


@attrs.frozen
class _Proof:
    """
    Who sent a request, as far as it proved that.
    """

    username: str | None = None
    key: bytes | None = attrs.field(default=None, repr=False)


_ANONYMOUS = _Proof()


class _Refused(Exception):
    """
    The request gets an error response.
    """

    def __init__(self, code: int, unknown: tuple[int, ...] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.attributes = (Attribute(AttributeType.UNKNOWN_ATTRIBUTES, unknown),) if unknown else ()


class BindingAnswerer:
    """
    The answering core for Binding. It keeps no state: the same request gets the same answer.
    """

    def __init__(
        self,
        listeners: Iterable[TransportAddress],
        keyFor: Callable[[str], bytes | None] | None = None,
        allowAnonymous: bool = True,
        allowResponsePort: bool = True,
        advertised: Mapping[TransportAddress, TransportAddress] | None = None,
        callsBack: bool = False,
    ) -> None:
        """
        @param listeners: All addresses on which requests arrive. Two hosts by two ports give the
            whole of RFC 5780; two ports of one host the change of port.
        @param keyFor: From the USERNAME of a request, such as the name of a ticket, to its
            short-term key; C{None} for unknown ones. Without it nobody is authenticated, and
            integrity attributes are ignored.
        @param allowAnonymous: Requests without integrity are answered too.
        @param allowResponsePort: RESPONSE-PORT is honoured for anonymous requests too.
        @param advertised: The public addresses of listeners that are themselves behind an address
            translation, as on rented hosts.
        @param callsBack: CHANGE-REQUEST over TCP is served, too: whoever sends the answer first
            connects to its destination from the host of its origin, and any port, or sends
            L{failed} instead.
        """
        addresses = tuple(listeners)
        self._keyFor = keyFor
        self._allowAnonymous = allowAnonymous
        self._allowResponsePort = allowResponsePort
        self._advertised = dict(advertised or {})
        self._callsBack = callsBack
        self._corners = {local: _corners(local, addresses) for local in addresses}
        self._plainTails = {
            local: self._plainTail(local, corners) for local, corners in self._corners.items()
        }

    def answer(
        self,
        data: bytes,
        source: TransportAddress,
        local: TransportAddress,
        transport: Transport = Transport.UDP,
    ) -> Answer | None:
        """
        Answer one message that arrived on C{local} from C{source}.

        @param transport: Over TCP the answer takes the connection that the request took:
            RESPONSE-PORT gets an error response, and so does CHANGE-REQUEST unless clients are
            called; then the answer is one to a call from its origin.
        @return: What to send; C{None} where nothing may be sent: it was no Binding request.
        """
        if source.port == 0:
            # Only a forged datagram comes from there, and no socket sends there.
            return None
        if len(data) == HEADER_LENGTH and data[:8] == _PLAIN_REQUEST and self._allowAnonymous:
            tail = self._plainTails.get(local)
            if tail is not None:
                return _answerPlain(data, source, local, tail)
        try:
            request = decode(data)
        except MalformedMessage:
            return None
        if request.messageClass is not MessageClass.REQUEST or request.method != Method.BINDING:
            return None
        corners = self._corners.get(local) or _Corners({0: local})
        origin, destination = local, source
        proof = _ANONYMOUS
        errorCode = None
        try:
            proof = self._prove(request)
            origin, destination = self._route(request, source, corners, proof, transport)
            encoded = self._success(request, source, origin, corners, proof)
        except _Refused as refused:
            errorCode = refused.code
            isBrief = proof.key is None and transport is Transport.UDP
            encoded = _refusal(request, refused, proof, isBrief)
        return Answer(
            data=encoded,
            origin=origin,
            destination=destination,
            mapped=source,
            username=proof.username,
            errorCode=errorCode,
        )

    def failed(self, data: bytes, code: int, reason: str) -> bytes:
        """
        What to answer to a request over TCP whose client could not be called.

        @param data: A request that L{answer} has answered.
        """
        request = decode(data)
        response = Message.error(request, code, reason)
        return _encode(response, request, _ANONYMOUS)

    def _prove(self, request: ReceivedMessage) -> _Proof:
        """
        Check the short-term credential (RFC 8489 section 9.1.3).
        """
        if self._keyFor is not None and request.hasIntegrity:
            username = request.get(AttributeType.USERNAME)
            if username is None:
                raise _Refused(400)
            key = self._keyFor(username)
            if key is None or not request.isIntegrityValid(key):
                raise _Refused(401)
            return _Proof(username, key)
        if not self._allowAnonymous:
            raise _Refused(400)
        return _ANONYMOUS

    def _route(
        self,
        request: ReceivedMessage,
        source: TransportAddress,
        corners: _Corners,
        proof: _Proof,
        transport: Transport,
    ) -> tuple[TransportAddress, TransportAddress]:
        """
        Where the answer leaves from, and where it goes (RFC 5780 section 6.1).
        """
        unknown = list(request.unknownRequired)
        isUDP = transport is Transport.UDP
        change = request.get(AttributeType.CHANGE_REQUEST) or 0
        origin = corners.byChange.get(change)
        isCall = self._callsBack and proof.key is None and change & ChangeRequest.PORT
        if origin is None or (change and not isUDP and not isCall):
            unknown.append(AttributeType.CHANGE_REQUEST)
        port = request.get(AttributeType.RESPONSE_PORT)
        isPortAllowed = isUDP and (proof.key is not None or self._allowResponsePort)
        if port is not None and not isPortAllowed:
            unknown.append(AttributeType.RESPONSE_PORT)
        if origin is None or unknown:
            raise _Refused(420, tuple(unknown))
        if port is None:
            return origin, source
        if port < _LOWEST_RESPONSE_PORT or request.get(AttributeType.PADDING) is not None:
            raise _Refused(400)
        return origin, TransportAddress(source.host, port)

    def _success(
        self,
        request: ReceivedMessage,
        source: TransportAddress,
        origin: TransportAddress,
        corners: _Corners,
        proof: _Proof,
    ) -> bytes:
        attributes = [
            Attribute(AttributeType.XOR_MAPPED_ADDRESS, source),
            *self._discovery(origin, corners),
        ]
        encoded = _encode(Message.success(request, attributes), request, proof)
        if request.get(AttributeType.PADDING) is not None:
            room = len(request.data) - len(encoded) - 4
            if room >= 0:
                attributes.append(Attribute(AttributeType.PADDING, bytes(room)))
                encoded = _encode(Message.success(request, attributes), request, proof)
        return encoded

    def _discovery(self, origin: TransportAddress, corners: _Corners) -> Iterable[Attribute]:
        """
        The attributes by which a client finds out that behaviour discovery is offered.
        """
        other = corners.other
        if other is not None:
            yield Attribute(AttributeType.RESPONSE_ORIGIN, self._advertised.get(origin, origin))
            yield Attribute(AttributeType.OTHER_ADDRESS, self._advertised.get(other, other))

    def _plainTail(self, local: TransportAddress, corners: _Corners) -> bytes:
        """
        What follows XOR-MAPPED-ADDRESS in the answer to a bare request.
        """
        bare = Message.request(Method.BINDING, bytes(12), self._discovery(local, corners))
        return bare.encode(fingerprint=False)[HEADER_LENGTH:]


def _answerPlain(
    data: bytes, source: TransportAddress, local: TransportAddress, tail: bytes
) -> Answer:
    """
    Answer a request that is nothing but a header, by far the most frequent one, byte by byte.

    The result is the one of the long way.
    """
    mapped = _packMapped(source, data[8:])
    length = 4 + len(mapped) + len(tail)
    return Answer(
        data=b"".join(
            (
                b"\x01\x01",
                length.to_bytes(2, "big"),
                data[4:],
                b"\x00\x20\x00",
                len(mapped).to_bytes(1, "big"),
                mapped,
                tail,
            )
        ),
        origin=local,
        destination=source,
        mapped=source,
    )


def _encode(response: Message, request: ReceivedMessage, proof: _Proof) -> bytes:
    """
    Protect the response in the way in which the request was (RFC 8489 sections 7 and 9.1.3).
    """
    return response.encode(proof.key, request.hasIntegritySHA256, request.hasFingerprint)


def _refusal(request: ReceivedMessage, refused: _Refused, proof: _Proof, isBrief: bool) -> bytes:
    response = Message.error(request, refused.code, _REASONS[refused.code], refused.attributes)
    encoded = _encode(response, request, proof)
    if isBrief and len(encoded) > len(request.data):
        response = Message.error(request, refused.code, "", refused.attributes)
        encoded = _encode(response, request, proof)
    return encoded
