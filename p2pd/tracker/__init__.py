"""The tracker role: peer registry and search."""
