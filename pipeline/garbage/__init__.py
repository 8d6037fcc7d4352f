"""Garbage of a line: what nothing needs any more, and how it goes."""
