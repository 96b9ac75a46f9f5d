"""
Tests for L{holepunch.peer}.
"""
