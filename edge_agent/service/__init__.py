"""`edge-agent run`: the agent on a live network, for months."""
