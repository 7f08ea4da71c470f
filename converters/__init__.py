"""Trained models to one checked TFLite file."""
