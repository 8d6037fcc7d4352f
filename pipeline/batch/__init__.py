"""A batch: predictions for a whole table or a span by a released model, in parts, resumable."""
