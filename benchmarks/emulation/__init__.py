"""A gateway of another architecture, emulated."""
