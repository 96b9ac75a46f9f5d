"""
Tests of L{holepunch.turn}.
"""
