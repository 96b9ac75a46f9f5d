`holepunch.peer.openStreamOver` opens a stream over any channel that carries lines of text, such as a chat or a file, without a rendezvous service.
