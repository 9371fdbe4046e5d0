import threading

import pytest

from raindrop.restoration import prefetch


def test_calls_are_made_in_order_and_all_of_them():
    made = []
    with prefetch.InOrder(depth=2) as calls:
        for number in range(50):
            calls.submit(made.append, number)
    assert made == list(range(50))


def test_after_a_call_that_fails_none_is_made():
    made, failed = [], threading.Event()

    def fail():
        failed.set()
        raise ValueError("a fault")

    with (
        pytest.raises(ValueError, match="a fault"),
        prefetch.InOrder(depth=10) as calls,
    ):
        calls.submit(made.append, 1)
        calls.submit(fail)
        for _ in range(5):
            calls.submit(made.append, 2)
        failed.wait()
    assert made == [1]


def test_calls_that_wait_are_dropped_where_the_block_fails():
    made, go_on = [], threading.Event()
    with (
        pytest.raises(KeyboardInterrupt),
        prefetch.InOrder(depth=10) as calls,
    ):
        calls.submit(go_on.wait)
        calls.submit(made.append, 1)
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt
    assert not made


def test_prefetched_items_come_in_order_and_errors_with_them():
    def items():
        yield from range(5)
        raise ValueError("a fault")

    fetched = []
    with pytest.raises(ValueError, match="a fault"):
        for item in prefetch.prefetch(items(), depth=2):
            fetched.append(item)
    assert fetched == list(range(5))
