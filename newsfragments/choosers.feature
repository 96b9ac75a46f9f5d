`PeerConfig(nomination=…, pathChooser=…)` decide which pair is nominated and which of several paths is used; `LowestRoundTrip` goes by measured round trips.
