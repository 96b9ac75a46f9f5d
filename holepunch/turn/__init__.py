"""
TURN without I/O: a relay's state and a client's allocation (RFC 8656, RFC 6062).
"""
