"""
Tests of the explanations.
"""
