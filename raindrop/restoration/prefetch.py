"""Iterators that work ahead in threads, so that reading and the network overlap."""

import collections
import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")


def submit_ahead(
    items: Iterable[Any], submit: Callable[[Any], _T]
) -> Iterator[tuple[Any, _T]]:
    """Yields each item with what `submit` started for it, one item ahead of its use."""
    waiting: collections.deque[tuple[Any, _T]] = collections.deque()
    for item in items:
        waiting.append((item, submit(item)))
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def prefetch(items: Iterator[_T], depth: int) -> Iterator[_T]:
    """The same items, fetched by a thread up to `depth` ahead."""
    fetched: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                fetched.put((kind, value), timeout=0.1)
                return

    def fetch() -> None:
        try:
            for item in items:
                put("item", item)
                if stopped.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = fetched.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()


class InOrder:
    """Calls made by a thread one after another; once one has failed, none is made.

    At the end of `with` all have been made. Where the block fails, what has not begun
    is dropped.

    Args:
      depth: calls that may wait.
    """

    def __init__(self, depth: int) -> None:
        self._calls: queue.Queue[tuple[Callable[..., Any], Any] | None]
        self._calls = queue.Queue(depth)
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "InOrder":
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """Waits for the calls.

        Raises:
          BaseException: what a call raised.
        """
        self._stopped = kind is not None
        self._calls.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Has a call made; waits where too many are waiting.

        Raises:
          BaseException: what an earlier call raised.
        """
        if self._error is not None:
            raise self._error
        self._calls.put((function, args))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, args = call
            if self._stopped or self._error is not None:
                continue
            try:
                function(*args)
            except BaseException as error:
                self._error = error
