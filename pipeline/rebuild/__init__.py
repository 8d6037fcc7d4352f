"""Rebuilding a run from what was kept of it, and holding the one against the other, identity by identity."""
