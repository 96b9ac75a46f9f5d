`holepunch:` endpoint strings let unchanged Twisted programs listen and connect through NATs.
