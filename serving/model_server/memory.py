"""Memory that a process has freed and yet keeps: given back to the operating system."""

from __future__ import annotations

import ctypes


def give_back() -> bool:
    """Asks the C library to return freed memory; 20 to 50 ms after a model was unloaded, without the GIL.

    Without it the next model gets that memory, and the process stays as large as it was while two versions were loaded.

    Returns:
        Whether the C library knows how (glibc does).
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return False
    trim(0)
    return True
