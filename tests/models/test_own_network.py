"""A network that someone else brings, through everything, and nothing else touched."""

from functools import partial

import jax
import numpy as np
import pytest
import tiny
import tiny_nafnet
from ml_collections import ConfigDict

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.models import generator
from raindrop.models.interface import GeneratorOutput, Interface
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.files import derain_files
from raindrop.training import config_check
from raindrop.training.loop import train_and_evaluate
from raindrop.weights import LoadedGenerator, generators, safetensors_file


@pytest.fixture
def config(tmp_path, monkeypatch):
    line = generator.of_module(tiny_nafnet.NAFNet)
    monkeypatch.setitem(generator.NETWORKS, "nafnet", line)
    rng = np.random.default_rng(0)
    for i in range(3):
        photo = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
        pictures.write_image(tmp_path / "photos" / f"{i}.png", photo)
    config = tiny.get_config()
    config.model.generator = ConfigDict(generator.defaults({"kind": "nafnet"}))
    config.data.crop_size = 18
    config.data.photos = str(tmp_path / "photos")
    config.loss.multiscale = (1.0,)
    config.loss.map_target = "mask"
    config.loss.perceptual = 0.0
    config.training.num_steps = config.training.evaluate_every = 2
    return config


def test_training_evaluation_folders_and_weight_files(config, tmp_path):
    train_and_evaluate(config, tmp_path / "run")
    assert (tmp_path / "run" / "evaluation.csv").exists()

    loaded = generators.load_generator(tmp_path / "run")
    safetensors_file.write(loaded, tmp_path / "own.safetensors", "float32")
    derainer = Derainer(generators.load_generator(tmp_path / "own.safetensors"))

    network = generator.from_fields(loaded.fields)
    rng = np.random.default_rng(1)
    for i, size in enumerate(((20, 30), (21, 30), (33, 18), (20, 30), (40, 40))):
        wet = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        pictures.write_image(tmp_path / "wet" / f"{i}.png", wet)
    assert derain_files(derainer, tmp_path / "wet", tmp_path / "dry").done == 5
    for path in (tmp_path / "wet").iterdir():
        wet = pictures.read_image(path)
        even = pictures.pad_to_multiple(wet, 2)[None] / np.float32(255)
        alone = network.apply({"params": loaded.params}, even).image[0]
        alone = np.clip(alone, 0, 1)[: wet.shape[0], : wet.shape[1]]
        dry = pictures.read_image(tmp_path / "dry" / path.name)
        # Rounding apart; in a larger array than its own it would be many levels.
        np.testing.assert_allclose(dry, 255 * alone, atol=0.51)


def test_a_picture_in_a_larger_array_is_refused(config):
    network = generator.from_fields(config.model.generator)
    params = network.init(jax.random.key(0), np.zeros((1, 8, 8, 3)))["params"]
    fields = config.model.generator.to_dict()
    derainer = Derainer(LoadedGenerator(fields, params, "tests"))
    with pytest.raises(ValueError, match="larger"):
        derainer.run_many([np.zeros((8, 8, 3), np.uint8)], shape=(16, 16))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss.multiscale": (0.6, 0.8, 1.0)}, "must have 1 numbers"),
        ({"loss.map_target": "attention"}, "no attention map"),
        ({"data.crop_size": 17}, "multiple of 2"),
        ({"model.generator.kind": "nafnets"}, "one of attentive, nafnet"),
        ({"model.generator.width": "4"}, "a whole number"),
    ],
)
def test_what_it_does_not_promise_is_refused_before_training(
    config, change, words, tmp_path
):
    with config.ignore_type():
        config.update_from_flattened_dict(change)
    with pytest.raises(UserError, match=words):
        config_check.fields(config, tiny.get_config())
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        (Interface(multiple=1), "must be even"),
        (Interface(multiple=2, num_scales=3), "promises 3 pictures and gives 1"),
        (Interface(multiple=2, num_maps=2), "attention maps of the shape"),
        (Interface(multiple=2, gated=True), "promises a gate and gives none"),
    ],
)
def test_promises_are_held_against_the_network(config, promise, words, monkeypatch):
    lie = property(lambda _: promise)
    monkeypatch.setattr(tiny_nafnet.NAFNet, "interface", lie)
    config.data.crop_size = 17 if promise.multiple == 1 else 18
    config.loss.multiscale = (1.0,) * promise.num_scales
    with pytest.raises(UserError, match=words):
        config_check.values(config)


def test_a_gate_has_one_channel(config, monkeypatch):
    promise = property(lambda _: Interface(multiple=2, gated=True))
    monkeypatch.setattr(tiny_nafnet.NAFNet, "interface", promise)
    gated = partial(GeneratorOutput, gate=np.zeros((2, 18, 18, 3)))
    monkeypatch.setattr(tiny_nafnet, "GeneratorOutput", gated)
    with pytest.raises(UserError, match="a gate of the shape"):
        config_check.values(config)
