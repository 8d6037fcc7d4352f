"""Where a prediction, a model version, a span or a row comes from, and where it went."""
