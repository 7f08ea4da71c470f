"""The model architectures and their one registry."""
