`holepunch.turn` is TURN without I/O (RFC 8656, RFC 6062): a relay's state, and a client's allocation whose first requests leave together where realm and nonce are known.
