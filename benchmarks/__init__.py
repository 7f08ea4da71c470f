"""Measurements of the toolkit, run from the checkout: ``python -m benchmarks``."""
