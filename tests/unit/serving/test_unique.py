import re
import subprocess
import sys
import uuid

from raysys.serving.unique import new_seed, new_uuid, new_uuid_at

_IN_TWO_PROCESSES = """
import os
from raysys.serving.unique import new_seed
if not os.fork():
    print(new_seed(), flush=True)
    os._exit(0)
os.wait()
print(new_seed())
"""


def test_ids_have_the_form_of_a_uuid_and_differ() -> None:
    ids = [new_uuid() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", each) for each in ids)


def test_ids_of_a_time_are_uuids_of_version_7_that_rise_with_it_and_differ() -> None:
    now_us = 1_795_000_000_123_456
    ids = [uuid.UUID(new_uuid_at(now_us)) for _ in range(1000)]
    assert {(each.version, each.variant) for each in ids} == {(7, uuid.RFC_4122)}
    assert {each.int >> 80 for each in ids} == {now_us // 1000}
    for bit in {*range(76)} - {62, 63}:  # random, but for the version and the variant
        assert 300 < sum(each.int >> bit & 1 for each in ids) < 700
    assert new_uuid_at(now_us + 1000) > max(str(each) for each in ids)


def test_seeds_fill_the_range_that_a_request_may_name() -> None:
    seeds = [new_seed() for _ in range(1000)]
    assert len(set(seeds)) == 1000
    assert min(seeds) >= 0
    assert 1 << 62 < max(seeds) < 1 << 63


def test_a_forked_process_draws_other_numbers() -> None:
    command = [sys.executable, "-c", _IN_TWO_PROCESSES]
    first, second = subprocess.run(command, check=True, capture_output=True).stdout.split()
    assert first != second
