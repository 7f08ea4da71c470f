"""Small bounded programs for what no packaged tool does; each refuses to run outside the lab."""
