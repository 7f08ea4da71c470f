"""Whether time helps: one flow, its context, or the last flows of its source."""
