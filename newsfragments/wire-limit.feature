A main connection that receives too many bytes in a short time is broken off, before TLS has looked at them: a flood of KeyUpdates kept the service busy below all other limits.
