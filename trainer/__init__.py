"""Flow tables to trained, evaluated models, on a workstation."""
