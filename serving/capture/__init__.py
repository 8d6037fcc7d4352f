"""Capture: requests and answers of a served model, kept as PredictionLog records in TFRecord files."""
