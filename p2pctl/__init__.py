"""The thin control client."""
