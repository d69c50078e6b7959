"""The only ZeroMQ of the daemon: socket options, reactors, sealed routers and dealers."""
