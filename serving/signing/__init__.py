"""Signed releases: in-toto statements in DSSE envelopes, one in each version's folder, signed by Ed25519."""
