"""The wire, without I/O. Imports nothing, on purpose: the client's start-up time depends on it."""
