"""The local control API and its ipc server."""
