"""Ctrl-C and SIGTERM for a command that executes one run after the other in its own process: none of them is lost.

While a run is executed, Dagster has handlers of its own. What comes between two steps it keeps for the next one, and forgets it when there
is none; so a command that was told to end as a run ended went on with the next run. Afterwards Dagster gives SIGTERM the handler of SIGINT,
which is to be ignored in what a shell starts in the background. Python writes each signal to a descriptor too, whoever handles it: that is
read here.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def heeded_interrupts() -> Iterator[Callable[[], None]]:
    """Within this block SIGTERM interrupts as Ctrl-C does.

    Yields what is to be called after each run: it raises KeyboardInterrupt when a signal has come and was forgotten.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ignores_ctrl_c = before[signal.SIGINT] is signal.SIG_IGN
    heeded = {signal.SIGTERM} if ignores_ctrl_c else set(before)
    told, telling = os.pipe()
    for end in (told, telling):
        os.set_blocking(end, False)
    told_before = signal.set_wakeup_fd(telling, warn_on_full_buffer=False)

    def take_handlers() -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if ignores_ctrl_c:  # what the kernel ignores it tells nobody, and Dagster copies this to SIGTERM
            signal.signal(signal.SIGINT, lambda number, frame: None)

    def heed() -> None:
        take_handlers()
        with suppress(BlockingIOError):
            if heeded & set(os.read(told, 4096)):
                raise KeyboardInterrupt

    take_handlers()
    try:
        yield heed
    finally:
        signal.set_wakeup_fd(told_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(telling)
