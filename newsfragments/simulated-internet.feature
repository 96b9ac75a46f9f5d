`holepunch.lab.SimulatedInternet` runs Twisted programs, unchanged, on simulated hosts behind simulated NATs: in milliseconds, and the same way for the same seed.
