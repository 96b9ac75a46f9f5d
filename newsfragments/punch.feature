The core of a session, `holepunch.punch`: ICE over UDP (RFC 8445) and over TCP (RFC 6544) without I/O, with both TCP flows, that nominates in the same flight in which the stream begins.
