"""How candidates are found fast: FAISS partitions on disk, shards of them in memory.

Enters: candidate embeddings and item ids (`build`); queries with what each must not get (`shard`).
Leaves: the files of the release's `index` directory; item numbers with scores, under the tie rule
of `raysys.evaluation.topk`. Torch is never imported here.
"""
