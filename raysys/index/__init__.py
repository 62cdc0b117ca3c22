"""How candidates are found fast: FAISS partitions, shards of them in memory, and fresh items.

Enters: candidate embeddings and item ids (`build`); queries with what each must not get (`shard`,
`fresh`); items that came later, and what is known of them (`fresh`, `cold_start`, `new_items`).
Leaves: the files of the release's `index` and `cold_start` directories; item numbers with scores,
under the tie rule of `raysys.evaluation.topk`; draws for the slot mixture of `raysys.policy`. Torch
is never imported here.
"""
