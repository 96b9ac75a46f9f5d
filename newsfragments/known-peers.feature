Names of peers are pinned to the key that first proved itself under them, in a file `known_peers` that `holepunch peers` lists and edits; another key under a known name is refused.
