"""
Our codec and the one of aioice read each other's messages.
"""

from __future__ import annotations

from aioice import stun
from twisted.trial.unittest import SynchronousTestCase

from holepunch.address import TransportAddress
from holepunch.stun import (
    Attribute,
    AttributeType,
    BindingAnswerer,
    Message,
    Method,
    decode,
)

T = AttributeType
ID = bytes(range(12))
KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
LOCAL = TransportAddress("192.0.2.1", 3478)
SOURCE = TransportAddress("2001:db8::2", 4000)


class AioiceTests(SynchronousTestCase):
    """
    Checks as an ICE agent sends them.
    """

    def test_theyReadOurs(self) -> None:
        """
        Aioice finds our check authentic, and the same values in it.
        """
        data = Message.request(
            Method.BINDING,
            ID,
            [
                Attribute(T.USERNAME, "evtj:h6vY"),
                Attribute(T.PRIORITY, 0x6E0001FF),
                Attribute(T.ICE_CONTROLLING, 1 << 60),
                Attribute(T.USE_CANDIDATE),
            ],
        ).encode(KEY)
        message = stun.parse_message(data)
        self.assertTrue(message.check_message_integrity(KEY))
        self.assertEqual(message.transaction_id, ID)
        self.assertEqual(message.attributes["USERNAME"], "evtj:h6vY")
        self.assertEqual(message.attributes["PRIORITY"], 0x6E0001FF)
        self.assertEqual(message.attributes["ICE-CONTROLLING"], 1 << 60)
        self.assertIn("USE-CANDIDATE", message.attributes)

    def test_weReadTheirs(self) -> None:
        """
        We find aioice's check authentic, answer it, and aioice finds the answer authentic.
        """
        message = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.REQUEST,
            transaction_id=ID,
        )
        message.attributes["USERNAME"] = "evtj:h6vY"
        message.attributes["PRIORITY"] = 7
        message.add_message_integrity(KEY)
        data = bytes(message)
        received = decode(data)
        self.assertTrue(received.isIntegrityValid(KEY))
        self.assertEqual(received.get(T.PRIORITY), 7)
        answer = BindingAnswerer([LOCAL], keyFor={"evtj:h6vY": KEY}.get).answer(data, SOURCE, LOCAL)
        assert answer is not None
        response = stun.parse_message(answer.data)
        self.assertTrue(response.check_message_integrity(KEY))
        self.assertEqual(response.message_class, stun.Class.RESPONSE)
        self.assertEqual(response.attributes["XOR-MAPPED-ADDRESS"], (SOURCE.host, SOURCE.port))
