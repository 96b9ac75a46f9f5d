"""
Tests for L{holepunch.punch}.
"""
