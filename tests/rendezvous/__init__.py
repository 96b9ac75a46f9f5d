"""
Tests for L{holepunch.rendezvous}.
"""
