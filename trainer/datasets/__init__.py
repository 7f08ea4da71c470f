"""Flow tables: published CSV layouts, labelled captures, cleaning and splits."""
