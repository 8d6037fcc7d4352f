"""Batch inference: rows of tables to files of predictions, one row out for one row in, part by part."""
