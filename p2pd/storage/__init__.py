"""Files and SQLite. Synchronous by design: callers choose the thread."""
