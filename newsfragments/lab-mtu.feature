Links of the lab have an MTU (`mtu = 1492`, `black-hole = yes`, `loses-fragments = yes`), in the simulator as well, and NATs forward IP fragments or drop them (`fragments = drop`).
