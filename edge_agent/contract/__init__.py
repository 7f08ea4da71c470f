"""What training and serving agree on: features, profiles, scaling, files, alerts, errors.

numpy and the standard library only, so that every other room may import it.
"""
