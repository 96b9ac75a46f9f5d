A stream over UDP, or with a relay, outlives the reboot of a NAT, a new address, sleep, and a restart of the service; the event `moved` tells which way it goes.
