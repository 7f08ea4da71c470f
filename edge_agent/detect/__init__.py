"""Features to scores: the TFLite interpreter behind scaler and threshold."""
