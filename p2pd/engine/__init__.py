"""Pure decisions about downloads: what to ask of whom. No I/O, no clock, no threads."""
