"""The demonstration: the whole path on one machine, with a broker of its own."""
