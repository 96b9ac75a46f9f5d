"""
The version of txholepunch; C{setup.cfg} reads it from here.
"""

__version__ = "0.1.0"
