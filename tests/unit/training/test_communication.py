"""Two processes that talk over gloo."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing

from raysys.training.communication import ProcessGroup


def talk(rank: int, meeting: str) -> None:
    """Be one of the two; an assertion that fails fails the test."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    comm = ProcessGroup()
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
    dist.destroy_process_group()


def test_workers_hear_what_all_of_them_say(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(talk, args=(str(tmp_path / "meeting"),), nprocs=2)
