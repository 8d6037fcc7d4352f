"""A line as a pipeline spec: compiled for Kubeflow Pipelines and Vertex AI, and carried out step by step from it."""
