"""Runs that were saved before some fields of the networks came about."""

import json
from pathlib import Path

import tiny
from ml_collections import ConfigDict

from raindrop.weights import checkpoints


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
