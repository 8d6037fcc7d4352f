"""The embedded model server: TensorFlow Serving's API, for places where its binary cannot be had."""
