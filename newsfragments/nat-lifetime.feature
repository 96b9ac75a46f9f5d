`PeerConfig(natLifetime=SECONDS)` fits the keepalive to a NAT whose lifetime is known: down to a check a second, up to the most that consent and the service allow.
