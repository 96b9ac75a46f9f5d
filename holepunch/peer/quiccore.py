"""
One QUIC connection without I/O: qh3's packet core and its TLS, put together for pinned peers.

Owns: making the two, passing handshake bytes and keys between them, and the events that come out.
Knows nothing of: Twisted, paths, and what the streams carry.
Driven by: L{holepunch.peer.quic.QUICConnection}, which passes C{now} in seconds.

qh3 has a class of its own for this, C{QuicConnection}. It copies each event into an object, takes
received data out of the core at once and so extends the flow control window whether anybody reads
or not, and can neither ask for a client's certificate nor be kept from following a Retry or a
version negotiation, which on a punched path only a stranger would send. Here an event leaves the
core, and its window is extended, when L{nextEvent} is called.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
from qh3 import tls
from qh3._hazmat import QuicConnectionCore, pull_quic_header
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.crypto import CIPHER_SUITES
from qh3.quic.packet import QuicErrorCode, QuicPacketType, QuicProtocolVersion
from qh3.quic.tls_bridge import QuicTlsBridge, QuicTlsBridgeError

from holepunch.errors import WrongPeer
from holepunch.identity import Identity, PeerID
from holepunch.peer.quictls import PinnedHandshake, pin, useIdentity

MAX_STREAMS = 100
"""
So many streams each side may have open at once; qh3 announces this number.
"""

_MAX_UNIDIRECTIONAL = 103
_CONNECTION_ID = 8
_MIN_INITIAL = 1200
_CRYPTO_LIMIT = 1 << 16
_MAX_DATAGRAM_FRAME = 65535
# The path below is one and the same for QUIC, wherever its datagrams go.
_PATH = ("127.0.0.1", 1)

Event = tuple[Any, ...]
"""
The kind, then what qh3's core says of it, or C{("connected",)}.
"""


@attrs.frozen(kw_only=True)
class QUICSettings:
    """
    What one connection is allowed.

    @ivar idleTimeout: Seconds without a packet after which it is lost.
    @ivar maxDatagramSize: The largest packet in bytes; 1,200 fit every path.
    @ivar streamWindow: So many bytes of one stream may be on their way to us.
    @ivar connectionWindow: The same for all streams together.
    @ivar roundTrip: The path's round trip in seconds, as far as anybody knows.
    """

    idleTimeout: float = attrs.field(default=60.0, validator=attrs.validators.ge(1.0))
    maxDatagramSize: int = attrs.field(
        default=_MIN_INITIAL,
        validator=[attrs.validators.ge(_MIN_INITIAL), attrs.validators.le(65507)],
    )
    streamWindow: int = attrs.field(default=4 << 20, validator=attrs.validators.ge(1 << 14))
    connectionWindow: int = attrs.field(default=8 << 20, validator=attrs.validators.ge(1 << 14))
    roundTrip: float = attrs.field(default=0.333, validator=attrs.validators.gt(0.0))


class QUICCore:
    """
    The state of one connection.

    The client's first datagrams are there at once; the server begins with the client's first.

    @ivar dropped: How many packets were no part of this connection, or came twice.
    @ivar heardAt: When the last packet came that was part of it.
    @ivar idleTimeout: After how much silence it is over: the shorter of both sides' timeouts.
    """

    def __init__(
        self,
        identity: Identity,
        remote: PeerID,
        *,
        isClient: bool,
        settings: QUICSettings,
        now: float,
    ) -> None:
        self.dropped = 0
        self.heardAt = now
        self.idleTimeout = settings.idleTimeout
        self._remote = remote
        self._isClient = isClient
        self._settings = settings
        self._events: deque[Event] = deque()
        self._core: Any = None
        self._bridge: QuicTlsBridge | None = None
        self._handshake: PinnedHandshake | None = None
        self._isConnected = False
        self._isConfirmed = not isClient
        self._cryptoReceived = 0
        self._parameters: object = None
        self._failure: Exception | None = None
        self._configuration = QuicConfiguration(
            is_client=isClient,
            connection_id_length=_CONNECTION_ID,
            idle_timeout=settings.idleTimeout,
            max_data=settings.connectionWindow,
            max_stream_data=settings.streamWindow,
            max_datagram_size=settings.maxDatagramSize,
            max_datagram_frame_size=_MAX_DATAGRAM_FRAME,
            initial_rtt=settings.roundTrip,
        )
        useIdentity(self._configuration, identity)
        if isClient:
            destination = os.urandom(_CONNECTION_ID)
            self._start(destination, now)
            self._pass(lambda bridge: bridge.start())

    def _start(self, destination: bytes, now: float) -> None:
        settings = self._settings
        source = os.urandom(_CONNECTION_ID)
        self._core = QuicConnectionCore(
            is_client=self._isClient,
            version=int(QuicProtocolVersion.VERSION_1),
            local_addr=("0.0.0.0", 0),
            remote_addr=_PATH,
            source_cid=source,
            destination_cid=destination,
            # Checks have proven the path before QUIC comes to it.
            peer_address_validated=True,
            active_connection_id_limit=2 if self._isClient else 8,
            max_datagram_size=settings.maxDatagramSize,
            probe_datagram_size=False,
            # Our own clock ends it: qh3's would keep L{hurry} from working late in an outage.
            idle_timeout=None,
            ack_delay_exponent=3,
            max_datagram_frame_size=_MAX_DATAGRAM_FRAME,
            peer_max_datagram_frame_size=None,
            connection_receive_window=settings.connectionWindow,
            connection_send_limit=0,
            stream_receive_window=settings.streamWindow,
            stream_send_limit_bidi_local=0,
            stream_send_limit_bidi_remote=0,
            stream_send_limit_uni=0,
            max_stream_reassembly=settings.streamWindow,
            local_max_streams_bidi=MAX_STREAMS,
            local_max_streams_uni=_MAX_UNIDIRECTIONAL,
            peer_max_streams_bidi=0,
            peer_max_streams_uni=0,
            initial_rtt=settings.roundTrip,
            max_ack_delay=0.025,
            initial_time=now,
        )
        self._bridge = QuicTlsBridge(
            self._configuration,
            version=int(QuicProtocolVersion.VERSION_1),
            local_initial_source_connection_id=source,
            original_destination_connection_id=destination,
        )
        self._handshake = pin(self._bridge, self._remote)

    # --- what arrives ---------------------------------------------------------------------------

    def receive(self, datagrams: list[bytes], now: float) -> None:
        """
        Take what came over the path.
        """
        if self._isConnected:
            self._count(self._core.receive_many_datagrams(datagrams, _PATH, now), now)
            return
        for index, data in enumerate(datagrams):
            if self._isConnected:
                self.receive(datagrams[index:], now)
                return
            self._receiveHandshake(data, now)

    def _count(self, report: Sequence[int], now: float) -> None:
        _, _, packets, duplicates, dropped, _ = report
        self.dropped += duplicates + dropped
        if packets:
            self.heardAt = now

    def _receiveHandshake(self, data: bytes, now: float) -> None:
        # Each packet brings the keys for the next one in the same datagram (RFC 9000 section 12.2).
        offset = 0
        while offset < len(data):
            try:
                header = pull_quic_header(data, offset, _CONNECTION_ID)
            except ValueError:
                self.dropped += 1
                return
            kind, destination, source, end = header[1], header[3], header[4], header[9]
            if kind in (QuicPacketType.RETRY, QuicPacketType.VERSION_NEGOTIATION):
                self.dropped += 1
                return
            if kind == QuicPacketType.INITIAL and self._awaitsClient:
                if len(data) < _MIN_INITIAL or header[0] != QuicProtocolVersion.VERSION_1:
                    self.dropped += 1
                    return
                self._start(destination, now)
            if self._core is None:
                self.dropped += 1
                return
            end = end if end > offset else len(data)
            report = self._core.receive_datagram(data[offset:end], _PATH, now, len(data))
            self._count(report, now)
            if report[2] and source and self._bridge is not None:
                self._bridge.remote_initial_source_connection_id = source
            self._drainHandshake()
            offset = end

    @property
    def _awaitsClient(self) -> bool:
        # What looked like the client's first packet may have been garbage.
        return not self._isClient and (
            self._core is None or not self._core.received_authenticated_packet
        )

    def _drainHandshake(self) -> None:
        """
        Pass on what the core received for TLS, and keep the rest for L{nextEvent}.
        """
        while True:
            event = self._core.next_event()
            if event is None:
                return
            if not self._isHandshakes(event):
                self._events.append(event)

    def _isHandshakes(self, event: Event) -> bool:
        if event[0] == "crypto_data":
            _, epoch, offset, data = event
            self._cryptoReceived += len(data)
            if self._cryptoReceived > _CRYPTO_LIMIT:
                self._fail(QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, "the handshake is too long")
            elif self._failure is None:
                self._pass(
                    lambda bridge: bridge.receive_crypto(
                        tls.Epoch(epoch), data, offset, version=self._core.version
                    )
                )
            return True
        if event[0] == "handshake_done":
            self._confirm()
            return True
        return False

    def nextEvent(self) -> Event | None:
        """
        The next thing that happened; received data counts as read from now on.
        """
        if self._events:
            return self._events.popleft()
        if self._core is None:
            return None
        while True:
            event: Event | None = self._core.next_event()
            if event is None:
                return None
            if not self._isHandshakes(event):
                if not self._isConfirmed and event[0] in ("stream_data", "datagram"):
                    # Servers say nothing before they have believed us. Were HANDSHAKE_DONE lost,
                    # qh3's client would wait for it, and acknowledge nothing meanwhile.
                    self._confirm()
                return event
            if self._events:
                return self._events.popleft()

    def _confirm(self) -> None:
        self._isConfirmed = True
        self._core.handshake_confirmed()

    # --- TLS ------------------------------------------------------------------------------------

    def _pass(self, step: Any) -> None:
        """
        Let TLS take a step, and hand what comes of it to the core.
        """
        bridge = self._bridge
        assert bridge is not None and self._handshake is not None
        try:
            step(bridge)
            self._install(bridge)
        except QuicTlsBridgeError as error:
            self._fail(error.error_code, error.reason_phrase)
        except Exception as error:
            # Parsers of what the other side sent fail in more ways than they promise.
            self._fail(
                QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.decode_error,
                f"the handshake cannot be understood: {error}",
            )

    def _install(self, bridge: QuicTlsBridge) -> None:
        core = self._core
        while True:
            secret = bridge.next_traffic_secret()
            if secret is None:
                break
            protection, cipher = CIPHER_SUITES[secret.cipher_suite]
            core.install_packet_key(
                "send" if secret.direction == tls.Direction.ENCRYPT else "receive",
                int(secret.epoch),
                (cipher.decode(), protection.decode()),
                secret.key,
                secret.iv,
                secret.hp,
                0,
                secret.secret,
                secret.version,
            )
        while True:
            crypto = bridge.next_crypto_data()
            if crypto is None:
                break
            core.send_crypto(int(crypto.epoch), crypto.offset, crypto.data)
        self._applyParameters(bridge)
        while True:
            event = bridge.next_event()
            if event is None:
                break
            if isinstance(event, events.HandshakeCompleted):
                self._isConnected = True
                core.handshake_complete()
                self._events.append(("connected",))

    def _applyParameters(self, bridge: QuicTlsBridge) -> None:
        theirs = bridge.remote_transport_parameters
        if theirs is None or theirs is self._parameters:
            return
        self._parameters = theirs
        if theirs.max_idle_timeout:
            self.idleTimeout = min(self.idleTimeout, max(theirs.max_idle_timeout / 1000, 1.0))
        exponent, delay = theirs.ack_delay_exponent, theirs.max_ack_delay
        self._core.apply_peer_transport_parameters(
            theirs.initial_max_data or 0,
            theirs.initial_max_stream_data_bidi_local or 0,
            theirs.initial_max_stream_data_bidi_remote or 0,
            theirs.initial_max_stream_data_uni or 0,
            theirs.initial_max_streams_bidi or 0,
            theirs.initial_max_streams_uni or 0,
            3 if exponent is None else exponent,
            0.025 if delay is None else delay / 1000,
            None,
            theirs.max_datagram_frame_size,
            theirs.stateless_reset_token,
            theirs.active_connection_id_limit or 2,
            bool(theirs.disable_active_migration),
            theirs.max_udp_payload_size,
        )

    def _fail(self, code: int, reason: str) -> None:
        """
        The handshake ends here.
        """
        assert self._handshake is not None
        self._failure = self._handshake.wrongPeer or WrongPeer(
            f"the other side proved no identity: {reason}"
        )
        # Frame type 0x06 tells that it was a CRYPTO frame (RFC 9000 section 19.19).
        self._core.close(code, 6, reason.encode())
        self._events.append(("failed", self._failure))

    # --- what leaves ----------------------------------------------------------------------------

    def transmit(self, now: float) -> list[bytes]:
        """
        The datagrams to send now.
        """
        datagrams: list[bytes] = []
        if self._core is not None:
            poll = self._core.poll_transmit
            while True:
                transmit = poll(now)
                if transmit is None:
                    break
                datagrams.append(transmit[0])
        return datagrams

    def nextTimeout(self) -> float | None:
        """
        When L{handleTimeout} is due.
        """
        timer = None if self._core is None else self._core.get_timer()
        return None if timer is None else timer[1]

    def handleTimeout(self, now: float) -> None:
        """
        Time has passed.
        """
        if self._core is not None:
            self._core.handle_timer(now)

    def hurry(self) -> None:
        """
        Send what is on its way once more, without waiting: the path may be another one.
        """
        timer = None if self._core is None or self.isEnding else self._core.get_timer()
        if timer is not None and timer[0] == "loss_detection":
            self._core.handle_timer(timer[1])

    # --- streams and datagrams ------------------------------------------------------------------

    def openStream(self, isUnidirectional: bool = False) -> int | None:
        """
        The number of a new stream; C{None} when as many are open as the other side allows.
        """
        try:
            return int(self._core.open_stream(isUnidirectional))
        except ValueError:
            return None

    def send(self, stream: int, data: bytes, isEnd: bool = False) -> None:
        """
        Queue bytes of a stream.
        """
        self._core.send_stream(stream, data, isEnd)

    def waiting(self, stream: int) -> int:
        """
        How many bytes of a stream have not yet been sent for the first time.
        """
        return int(self._core.get_send_buffer_size(stream))

    def reset(self, stream: int, code: int) -> None:
        """
        Give up sending.
        """
        self._core.reset_stream(stream, code)

    def stop(self, stream: int, code: int) -> None:
        """
        Ask the other side to give up sending.
        """
        self._core.stop_sending(stream, code)

    def sendDatagram(self, data: bytes) -> None:
        """
        Queue one unreliable datagram (RFC 9221).
        """
        self._core.send_datagram(data)

    @property
    def hasRoom(self) -> bool:
        """
        Would one more packet leave at once?
        """
        core = self._core
        size = self._settings.maxDatagramSize
        return bool(core.bytes_in_flight + size <= core.congestion_window)

    def ping(self) -> None:
        """
        Make the other side answer (RFC 9000 section 19.2).
        """
        self._core.send_ping(0)

    def close(self, code: int, reason: str) -> None:
        """
        End the connection; L{transmit} then gives what tells the other side.
        """
        if self._core is not None:
            self._core.close(code, None, reason.encode()[:200])

    @property
    def isEnding(self) -> bool:
        """
        Has one of the sides closed the connection, or was it lost?
        """
        return self._core is not None and self._core.state not in ("first_flight", "connected")

    @property
    def peerCertificate(self) -> bytes | None:
        """
        The certificate that the other side proved, in DER.
        """
        certificate = None if self._handshake is None else self._handshake.peer_certificate
        return None if certificate is None else bytes(certificate.public_bytes())

    @property
    def roundTrip(self) -> float | None:
        """
        The round trip in seconds, smoothed.
        """
        return None if self._core is None else self._core.smoothed_rtt
