"""Tables as large as the published ones: made, read, and measured."""
