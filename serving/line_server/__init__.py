"""The served line: the embedded server, led by the release ledger."""
