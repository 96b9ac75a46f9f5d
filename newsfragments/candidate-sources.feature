`Peer(candidateSources=[…])` says where a peer can be reached; `ForwardedPort` is a port that a router forwards.
