"""The peer role: what is shared and what is downloaded."""
