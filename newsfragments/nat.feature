A model NAT translates UDP and TCP under any behaviour of RFC 4787 and RFC 5382, without I/O: `holepunch.nat.NATDevice`, with named examples from "full-cone" to "linux-masquerade".
