"""
Tests for L{holepunch.stun}.
"""
