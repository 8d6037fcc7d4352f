"""Lines in notebooks and scripts: the same pipeline, a component at a time, with its outputs as frames."""
