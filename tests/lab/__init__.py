"""Tests of the lab, without its namespaces."""
