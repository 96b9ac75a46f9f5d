"""
The tests of txholepunch.
"""
