"""
Tests for L{holepunch.lab}.
"""
