"""
Makes C{twistd holepunch} known. C{twistd} reads this file at every start: it imports nothing heavy.
"""

from twisted.application.service import ServiceMaker

holepunch = ServiceMaker(
    "holepunch rendezvous service",
    "holepunch.tap",
    "A rendezvous service for TCP and UDP hole punching.",
    "holepunch",
)
