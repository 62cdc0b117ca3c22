import json

import pytest
import torch
from torch.overrides import TorchFunctionMode

from raysys.config import GruConfig, TransformerConfig, TwoTowerConfig
from raysys.errors import DamagedReleaseError, ReleaseMismatchError
from raysys.models.build import build_model
from raysys.models.weights import load_model, save_model

CONFIGS = [
    GruConfig(hidden_dimension=8, time_gaps=True),
    TransformerConfig(hidden_dimension=16),
    TwoTowerConfig(embedding_dim=4, temperature=0.5),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.kind)
def saved(request, tmp_path):
    model = build_model(request.param, num_items=6, num_users=3, num_event_types=2)
    save_model(model, tmp_path / "model", num_users=3, vocabulary="abc")
    return model, tmp_path / "model"


def test_a_loaded_model_is_the_saved_one_ready_to_encode(saved):
    model, directory = saved
    loaded = load_model(directory, vocabulary="abc")
    assert loaded.config == model.config
    assert loaded.num_event_types == model.num_event_types
    assert not loaded.training
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


class Called(TorchFunctionMode):
    """Remembers by name what is asked of torch."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


def test_no_normal_numbers_are_drawn_for_weights_that_are_read(saved):
    with Called() as called:  # torch would load its compiler to draw them for no device
        load_model(saved[1], vocabulary="abc")
    assert "empty" in called.names
    assert "normal_" not in called.names


def test_a_model_of_another_vocabulary_is_refused(saved):
    with pytest.raises(ReleaseMismatchError, match="vocabulary abc….*used with xyz…"):
        load_model(saved[1], vocabulary="xyz")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_missing_or_cut_file_is_refused_by_name(saved, name):
    path = saved[1] / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedReleaseError, match=name):
        load_model(saved[1], vocabulary="abc")
    path.unlink()
    with pytest.raises(DamagedReleaseError, match=name):
        load_model(saved[1], vocabulary="abc")


def test_weights_of_a_model_of_another_size_are_refused(saved):
    path = saved[1] / "model.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"num_items": 7}))
    with pytest.raises(DamagedReleaseError, match="of another model"):
        load_model(saved[1], vocabulary="abc")


def test_a_pickle_in_the_place_of_the_weights_is_never_opened(saved, tmp_path):
    class Opened:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save({"items.weight": Opened()}, saved[1] / "weights.safetensors")
    with pytest.raises(DamagedReleaseError):
        load_model(saved[1], vocabulary="abc")
    assert not (tmp_path / "opened").exists()
