"""Two processes that talk over gloo."""

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from raysys.config import PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.training.communication import Communicator, ProcessGroup, SingleProcess
from raysys.training.loop import fit


def talk(rank: int, comm: Communicator) -> None:
    """Say all there is to say; an assertion that fails fails the test."""
    own = torch.tensor([[4, 0], [7]][rank])
    assert comm.gather(own).tolist() == [4, 0, 7]

    nums, rows = comm.gather_rows(own, own[:, None] * torch.ones(2))
    assert nums.tolist() == [4, 0, 7]
    assert rows.tolist() == [[4.0, 4.0], [0.0, 0.0], [7.0, 7.0]]

    nothing = own[:0] if rank == 0 else own
    nums, rows = comm.gather_rows(nothing, nothing[:, None] * torch.ones(2))
    assert (nums.tolist(), rows.tolist()) == ([7], [[7.0, 7.0]])
    assert comm.gather(own[:0]).tolist() == []

    tensors = [torch.tensor([1.0 + rank]), torch.full((2, 2), 10.0 * rank)]
    comm.sum_(tensors)
    assert tensors[0].tolist() == [3.0]
    assert tensors[1].tolist() == [[10.0, 10.0]] * 2

    first = [torch.tensor([5.0 + rank])]
    comm.broadcast_(first)
    assert first[0].tolist() == [5.0]


def losses_of(rows: np.ndarray, comm: Communicator) -> list[float]:
    """Train on these of 24 users, all of them in one batch."""
    lists = [[(start + step) % 12 + 1 for step in range(8)] for start in range(24)]
    train = Histories.from_lists([f"{row:02}" for row in range(24)], lists, [range(8)] * 24)
    config = PipelineConfig(
        model=TwoTowerConfig(embedding_dim=8),
        training=TrainingConfig(
            loss="sampled_softmax",
            num_negatives=6,
            batch_size=400,
            max_epochs=3,
            ema_decay=0.9,
            row_updates_from=20,
        ),
    )
    torch.manual_seed(0)
    model = build_model(config.model, num_items=12, num_users=24)
    results = fit(model, train.take(rows), config=config, user_nums=rows + 1, comm=comm)
    return [result.loss for result in results]


def be_one_of_two(rank: int, meeting: str, alone: list[float]) -> None:
    """Talk, and then learn from 7 or 17 users; the users' table changes row by row."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=5),
    )
    try:
        comm = ProcessGroup()
        talk(rank, comm)
        rows = [np.arange(7), np.arange(7, 24)][rank]
        assert losses_of(rows, comm) == pytest.approx(alone, rel=1e-5)
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(num_threads)


def be_the_other(_: int, meeting: str, alone: list[float]) -> None:
    be_one_of_two(1, meeting, alone)
    os._exit(0)  # to take torch down again would take a second


def test_two_processes_hear_each_other_and_have_the_losses_of_one(tmp_path: Path) -> None:
    alone = losses_of(np.arange(24), SingleProcess())
    given = (str(tmp_path / "meeting"), alone)
    # This process is one of the two: to begin another takes as long as to import torch.
    other = torch.multiprocessing.spawn(be_the_other, given, join=False)
    try:
        be_one_of_two(0, *given)
    finally:
        while not other.join():
            pass
