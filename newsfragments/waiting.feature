`holepunch ping` and `connect` wait up to five seconds for a peer that is not there yet; `--wait` says how long.
