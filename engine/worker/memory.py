import contextlib
import ctypes
import gc


def give_back_memory() -> None:
    """Returns to the system what dropped models held; takes milliseconds.

    Collecting looks only at what came since `keep_what_is_here`: some thousand objects of a model.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def keep_what_is_here() -> None:
    """Takes what was imported out of all collections to come: 0.1 seconds each, with the GIL held.

    Once, and before there are models: what is in a cycle, and was kept so, would never be freed.
    """
    gc.collect()
    gc.freeze()
