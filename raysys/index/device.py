"""Exact search on a torch device: in a shard that owns a GPU, the only place of it that has torch.

The device preselects by a float32 product, as `evaluation.topk` does on the CPU and with the same
bound on its rounding; the pairs that may belong to a list are scored on the CPU. So the lists are
those of the CPU, bit by bit, whatever the device and the order of its additions.

Letters for shapes:
    B  queries    N  candidates    D  width of an embedding    M  pairs to be scored per query
"""

import numpy as np
import torch
from numpy.typing import NDArray

from raysys.evaluation.exclusion import ItemLists, candidate_pairs
from raysys.evaluation.scoring import blocks, longest_of, score_error_bound
from raysys.evaluation.topk import TopK, merge_top_k, rescore

_QUERY_BLOCK = 64
_CANDIDATE_BLOCK = 1 << 20  # times 64 queries of 4 bytes: 256 MiB of scores at once


class DeviceVectors:
    """One partition's vectors, copied to a device."""

    def __init__(
        self, vectors: NDArray[np.float32], nums: NDArray[np.int32], device: torch.device
    ) -> None:
        """Copy (N, D) vectors, whose item numbers, (N,), ascend."""
        self._host = vectors
        self._nums = nums
        self._device = device
        self._vectors = torch.from_numpy(np.array(vectors)).to(device)
        self._longest = np.array(longest_of(vectors))

    def top_k(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return what `evaluation.topk.exact_top_k` returns for the same vectors.

        Args:
            allowed: (N,) the candidates that may be found. None: all.
        """
        hidden = None if allowed is None else torch.from_numpy(~allowed).to(self._device)
        errors = score_error_bound(queries, self._longest)
        columns: list[NDArray[np.int64]] = []
        for rows in blocks(len(queries), _QUERY_BLOCK):
            columns += self._near_the_best(queries, k, excluded, hidden, rows, errors[rows])
        widest = max((len(each) for each in columns), default=0)
        found = np.full((len(queries), widest), -1, dtype=np.int64)
        for row, each in enumerate(columns):
            found[row, : len(each)] = each
        return merge_top_k([rescore(queries, self._host, self._nums, found, k)], k)

    def log_sum_exp(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log(sum(exp(score))) over all candidates for each query, (B,)."""
        totals = np.full(len(queries), -np.inf)
        for rows in blocks(len(queries), _QUERY_BLOCK):
            for columns in blocks(len(self._nums), _CANDIDATE_BLOCK):
                scores = self._scores(queries[rows], columns).double()
                here = torch.logsumexp(scores, dim=1).cpu().numpy()
                totals[rows] = np.logaddexp(totals[rows], here)
        return totals

    def _near_the_best(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None,
        hidden: torch.Tensor | None,
        rows: slice,
        errors: NDArray[np.float64],
    ) -> list[NDArray[np.int64]]:
        """Return, for each of these queries, the candidates that may be among its k best."""
        near: list[list[NDArray[np.int64]]] = [[] for _ in errors]
        for block in blocks(len(self._nums), _CANDIDATE_BLOCK):
            scores = self._scores(queries[rows], block)
            pairs = candidate_pairs(self._nums[block], excluded, rows)
            masked_rows, masked = (torch.from_numpy(each).to(self._device) for each in pairs)
            scores[masked_rows, masked] = -torch.inf
            if hidden is not None:
                scores.masked_fill_(hidden[block], -torch.inf)
            found_rows, found = self._pairs_near_the_best(scores, k, errors)
            ends = np.searchsorted(found_rows, np.arange(len(near) + 1))
            for row, lists in enumerate(near):
                lists.append(found[ends[row] : ends[row + 1]] + block.start)
        return [np.concatenate([np.zeros(0, np.int64), *lists]) for lists in near]

    def _pairs_near_the_best(
        self, scores: torch.Tensor, k: int, errors: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (row, column), row by row; the same border as `scoring.near_the_best`."""
        lowest = torch.finfo(scores.dtype).min
        kth = scores.topk(min(k, scores.shape[1]), dim=1).values[:, -1].double()
        margins = torch.from_numpy(2 * errors).to(self._device)
        # Rounding the border to the scores' own type must not raise it.
        border = (kth - margins).float().nextafter(kth.new_tensor(-torch.inf).float())
        if k >= scores.shape[1]:
            border = torch.full_like(border, lowest)
        places = (scores >= border.clamp(min=lowest)[:, None]).nonzero().cpu().numpy()
        return places[:, 0], places[:, 1]

    def _scores(self, queries: NDArray[np.float32], columns: slice) -> torch.Tensor:
        """Return (B, N) float32."""
        on_device = torch.from_numpy(np.ascontiguousarray(queries)).to(self._device)
        return on_device @ self._vectors[columns].T
