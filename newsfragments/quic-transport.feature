A stream over QUIC behaves as Twisted's TCP does, in half-close, abort, flushing, reasons and back-pressure both ways; a paused stream holds up no other one.
