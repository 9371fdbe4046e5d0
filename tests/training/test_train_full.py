"""The full generator's trainer for machines without TensorFlow, at a tiny size."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

from raindrop.data import photographs
from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.pretrained import train_full
from raindrop.weights import checkpoints, load

ROOT = Path(__file__).parents[2]

# Where there is next to nothing, one step of the real recipe, at a few channels.
ALONE = """
import sys
for name in ("tensorflow", "cv2", "skimage", "tifffile", "safetensors", "h5py", "clu",
             "keras", "tensorflow_datasets", "tqdm", "av"):
    sys.modules[name] = None
sys.path.append("tests")
from pathlib import Path
import tiny
from configs import full
from raindrop.pretrained import train_full

config, small = full.get_config(), tiny.get_config()
for name in ("cell", "radius", "presence", "density", "least_defocus"):
    config.data.rendering[name] = small.data.rendering[name]
for name in ("attention", "autoencoder"):
    config.model.generator[name].update(small.model.generator[name])
config.model.generator.attention.sigmoid_map = True
config.model.discriminator, config.vgg = small.model.discriminator, small.vgg
config.data.crop_size, config.training.batch_size = 16, 1
config.data.photos, workdir = sys.argv[1:]
train_full.train(config, Path(workdir), lambda done: done == 1)
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
    config.data.photos = str(photos)
    config.data.hazy = config.data.blurred = 0.5
    config.loss.perceptual = config.loss.adversarial = 0.0  # compiles in half the time
    config.training.num_steps = 3
    return config


def test_pieces_go_on_from_each_other(config, tmp_path, capsys):
    """Three steps and 1 + 2 make the same state; its export can be loaded."""
    train_full.train(config, tmp_path / "whole", lambda _: False)
    for end in (0, 1, 3, 3):
        train_full.train(config, tmp_path / "pieces", lambda done, end=end: done == end)
    assert "no time" in capsys.readouterr().out
    assert checkpoints.steps(tmp_path / "pieces") == [1, 3]
    whole, pieces = (
        checkpoints.read(tmp_path / name, 3).tree for name in ("whole", "pieces")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)
    weights = tmp_path / "full.safetensors"
    train_full.export(tmp_path / "pieces", str(weights))
    assert load.load(weights).fields["attention"]["channels"] == 4

    config.data.photos = str(tmp_path / "photos" / "deep")  # moved: no matter
    config.training.batch_size = 16
    with pytest.raises(UserError, match=r"batch_size=16, was 8\)"):
        train_full.train(config, tmp_path / "pieces", lambda _: False)


def test_what_is_not_finite_is_not_saved(config, tmp_path):
    """The run ends with a line, and its last checkpoint stays the newest."""
    config.optimizer.learning_rate = 1e30
    config.optimizer.clip_norm = 0.0
    with pytest.raises(UserError, match="is not finite"):
        train_full.train(config, tmp_path / "run", lambda _: False)
    assert not checkpoints.steps(tmp_path / "run")


def test_photographs_are_those_of_main(config, photos):
    """None that is held out; a damaged one ends the run before it begins."""
    config.data.hazy = config.data.blurred = 0.0
    config.data.crop_size = 24
    _, (away,) = photographs.split(str(photos), 1)
    pictures.write_image(away, np.zeros((24, 28, 3), np.uint8))
    batches = train_full.crops(config, 0)
    assert all(next(batches)["images"].max((1, 2, 3)).all() for _ in range(9))
    damaged = next(p for p in photos.rglob("*.png") if p != away)
    damaged.write_bytes(damaged.read_bytes()[:900])
    with pytest.raises(UserError, match=f"{damaged.name} cannot be decoded"):
        train_full.crops(config, 0)


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
    assert "'g_perceptual'" in done.stdout
    assert "'d_map'" in done.stdout
    assert checkpoints.steps(workdir) == [1]
