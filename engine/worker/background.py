"""Work beside the step loop gives way to it."""

import os
import sys
import threading

NICENESS = 10
"""More than the step loop's: where both want a core, it gets a tenth of it."""

SWITCH_SECONDS = 0.0005
"""A step waits so long for the interpreter, each time that it comes back from native code, if
another thread is in the middle of Python; by default it would be ten times that."""


def be_background() -> None:
    """The calling thread, and those that it starts from now on, leave the cores to others.

    To say it again changes nothing.
    """
    if sys.platform == "linux":  # elsewhere niceness is the whole process's
        niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def let_steps_in() -> None:
    """Has Python threads give way to each other often, in the whole process."""
    sys.setswitchinterval(SWITCH_SECONDS)
