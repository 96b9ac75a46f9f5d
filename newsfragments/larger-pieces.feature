Streams over QUIC hand data on in larger pieces, and `holepunch listen` and `connect` write what waits at once: a transfer costs the receiving side about half of the processor time.
