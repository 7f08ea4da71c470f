"""Labelled traffic of real programs, recorded in network namespaces."""
