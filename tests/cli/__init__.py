"""
Tests for L{holepunch.cli}.
"""
