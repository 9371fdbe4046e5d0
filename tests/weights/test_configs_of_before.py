"""Runs and files that were saved when networks had other fields."""

import json
from pathlib import Path

import pytest
import tiny
import tiny_generator
from ml_collections import ConfigDict

from raindrop.errors import UserError
from raindrop.models import generator
from raindrop.weights import checkpoints, generators, safetensors_file


def saved_with(config):
    meta = {"config": json.loads(config.to_json_best_effort())}
    return checkpoints.Saved(1, {}, meta, Path("run"))


def test_a_field_that_was_not_there_means_its_default():
    """So the network is the same; another value of it is another network."""
    config = tiny.get_config()
    before = ConfigDict(config.to_dict())
    with before.unlocked():
        del before.model.generator.kind
        del before.model.generator.attention.share_steps
        del before.model.discriminator.negative_slope
    saved = saved_with(before)
    assert not saved.differences(config)
    config.model.generator.attention.share_steps = False
    assert list(saved.differences(config)) == ["model.generator.attention.share_steps"]


def test_one_size_is_passed_over_and_several_are_refused(tmp_path, monkeypatch):
    """Nothing computes the mean over several sizes; shipped files ask for one."""
    config = tiny.get_config()
    before = ConfigDict(config.to_dict())
    before.model.generator.update(sizes=(1.0,))
    assert not saved_with(before).differences(config)
    before.model.generator.sizes = (1.0, 0.75)
    assert list(saved_with(before).differences(config)) == ["model.generator.sizes"]
    loaded, path = tiny_generator.loaded(), tmp_path / "before.safetensors"
    fields = generator.complete(loaded.fields) | {"sizes": (1.0, 0.75)}
    monkeypatch.setattr(generator, "complete", lambda _: fields)
    safetensors_file.write(loaded, path, "float32")
    with pytest.raises(UserError, match=r"does not know .*sizes"):
        generators.load_generator(path)
