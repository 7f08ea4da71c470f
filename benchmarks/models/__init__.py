"""Every model on the same rows."""
