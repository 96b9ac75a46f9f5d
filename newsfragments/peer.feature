A Peer connects to other peers, and is connected to, as ordinary Twisted endpoints: over TCP with TLS 1.3 and half-close, and over UDP as a path for datagrams.
