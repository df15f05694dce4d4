"""What becomes of the memory that tensors free on a CPU."""

import ctypes

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Lets this process keep the memory that tensors free, for the next batch; does nothing without glibc.

    By default glibc gives large blocks back to the system, which clears them page by page for the next
    batch. A process that keeps them stays at its highest use until it ends.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        change(_M_MMAP_MAX, 0)  # large blocks come from the heap as well, which is kept
        change(_M_TRIM_THRESHOLD, -1)  # and whose end is never given back
