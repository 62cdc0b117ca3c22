"""Which index `auto` chooses, by cases worked out by hand. Run: pytest tests/unit/index"""

import pytest

from raysys.config import IndexConfig
from raysys.index.choice import choices, num_lists


def tried(num_items: int, width: int = 64, **settings: object) -> list[str]:
    config = IndexConfig.model_validate({"factory": "auto", **settings})
    return [choice.factory for choice in choices(num_items, width, config)]


def test_a_small_catalogue_is_searched_exactly() -> None:
    assert tried(1_682) == ["Flat"]
    assert tried(50_000, 64) == ["Flat"]
    assert tried(12_500, 256) == ["Flat"]
    assert tried(12_501, 256)[0] != "Flat"


def test_shards_with_a_gpu_search_exactly_whatever_the_size() -> None:
    assert tried(5_000_000, device="gpu") == ["Flat"]


def test_a_graph_comes_first_up_to_50_000_items_per_partition() -> None:
    # 2 x sqrt(50,000) = 447, between 256 and 512: nearer to 512 by the logarithm.
    assert tried(200_000) == ["HNSW32", "IVF512,Flat", "IVF512,PQ64x4fs", "Flat"]
    assert tried(200_004) == ["IVF512,PQ64x4fs", "IVF512,Flat", "HNSW32", "Flat"]
    assert tried(200_000, num_partitions=2)[0] == "IVF512,PQ64x4fs"


def test_what_does_not_fit_the_memory_comes_after_what_does() -> None:
    # 200,000 items of 64: the graph 4 x 64 + 276 = 532 bytes each, 0.0991 GiB; lists of vectors
    # 264 bytes, 0.0492 GiB; packed 40 bytes, 0.0075 GiB.
    graph, listed, packed = "HNSW32", "IVF512,Flat", "IVF512,PQ64x4fs"
    assert tried(200_000, memory_gib=0.1) == [graph, listed, packed, "Flat"]
    assert tried(200_000, memory_gib=0.099) == [listed, packed, graph, "Flat"]
    assert tried(200_000, memory_gib=0.049) == [packed, graph, listed, "Flat"]


def test_a_kind_that_is_named_is_tried_alone() -> None:
    assert tried(5_000_000, factory="SQ8") == ["SQ8"]
    assert tried(10, factory="Flat") == ["Flat"]


def test_the_reason_has_the_numbers() -> None:
    config = IndexConfig(memory_gib=0.01)
    whys = {choice.factory: choice.why for choice in choices(200_000, 64, config)}
    assert whys["HNSW32"] == (
        "200,000 items x 64, 50,000 per partition: a graph finds most, 0.0991 GiB, above "
        "index.memory_gib 0.01"
    )
    assert whys["IVF512,PQ64x4fs"].endswith("0.00745 GiB, within index.memory_gib 0.01")


@pytest.mark.parametrize(
    ("num_items", "num_partitions", "expected"),
    [(4, 4, 4), (100_000, 4, 256), (1_000_000, 4, 1_024), (5_000_000, 4, 2_048)],
)
def test_lists_are_a_power_of_two_near_twice_the_root(
    num_items: int, num_partitions: int, expected: int
) -> None:
    # 2 x sqrt(25,000) = 316; 2 x sqrt(250,000) = 1,000; 2 x sqrt(1,250,000) = 2,236.
    assert num_lists(num_items, num_partitions) == expected
