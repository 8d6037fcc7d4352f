"""Captured requests asked again, and their answers compared."""
