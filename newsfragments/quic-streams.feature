Streams go over a punched UDP path, too, by QUIC: `--transport udp`, or `auto` where TCP cannot be punched; all streams with one peer share one connection.
