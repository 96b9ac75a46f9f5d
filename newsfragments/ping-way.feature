`holepunch ping` tells with each reply which way it went, so that a move from the relay to a direct path is seen; a name that is first used over a connection made by ID is pinned as any other.
