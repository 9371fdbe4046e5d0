"""Ctrl-C and SIGTERM ask a run to stop after the step it is at."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

import jax
import numpy as np

_LOG = logging.getLogger(__name__)


class StopSignals:
    """From `with` to its end, SIGINT and SIGTERM are noted rather than obeyed.

    A second one is obeyed as if there were nothing here.

    Attributes:
      received: name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        # Python gives signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self.__exit__()
            signal.raise_signal(number)
            return
        self.received = signal.Signals(number).name
        _LOG.info("%s: this step is finished and saved first", self.received)


class StopTogether:
    """Lets all processes of a run stop at the same step.

    A signal may reach one process alone, or each at another step; but all have to
    leave the loop together, since a step waits for all of them.
    """

    def __init__(self) -> None:
        self._any = jax.pmap(lambda x: jax.lax.pmax(x, "all"), "all", out_axes=None)
        self._last: jax.Array | None = None

    def any_wants(self, mine: bool) -> bool:
        """Whether a process wants to stop; every process calls this every step.

        With several processes the answer is a step late: that of the step before is
        there already, and nothing waits for it.
        """
        if jax.process_count() == 1:
            return mine
        last = self._last
        self._last = self._any(np.full(jax.local_device_count(), mine, np.int32))
        return last is not None and bool(last)
