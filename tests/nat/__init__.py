"""
Tests for L{holepunch.nat}.
"""
