A peer notices within five seconds that this machine has other addresses, registers from them, and tells so by the event `InterfacesChanged`.
