"""Threads that compute, and those that they start, go after others; nobody else does."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from raysys.precedence import let_others_go_first


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def niceness_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(niceness).result()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has threads of different niceness")
def test_a_thread_and_those_that_it_starts_go_after_others() -> None:
    before = niceness()
    with ThreadPoolExecutor(1, initializer=let_others_go_first, initargs=(3,)) as threads:
        own = threads.submit(niceness).result()
        started = threads.submit(niceness_of_a_new_thread).result()
    expected = min(19, before + 3)
    assert (own, started) == (expected, expected)
    assert (niceness(), niceness_of_a_new_thread()) == (before, before)
