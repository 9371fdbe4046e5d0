"""The full generator's trainer for machines without TensorFlow, at a tiny size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tiny

from raindrop import image_io
from raindrop.pretrained import train_full
from raindrop.weights import load

ROOT = Path(__file__).parent.parent


def test_pieces_go_on_from_each_other(tmp_path):
    """Two steps and 1 + 1 make the same generator; its export can be loaded."""
    rng = np.random.default_rng(0)
    for i in range(3):
        photo = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
        image_io.write_image(tmp_path / "photos" / f"{i}.png", photo)
    config = tiny.get_config()
    config.data.hazy = config.data.blurred = 0.5
    config.loss.perceptual = config.loss.adversarial = 0.0  # compiles in half the time
    config.training.batch_size = 2
    config.training.num_steps = 2
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    train_full.train(config, tmp_path / "photos", tmp_path / "whole", 60)
    for config.training.num_steps in (1, 2, 2):
        train_full.train(config, tmp_path / "photos", tmp_path / "pieces", 60)
    whole, pieces = (
        dict(np.load(tmp_path / name / "generator.npz")) for name in ("whole", "pieces")
    )
    for key, value in whole.items():
        np.testing.assert_array_equal(pieces[key], value)
    weights = tmp_path / "full.safetensors"
    train_full.export(tmp_path / "pieces", str(weights))
    assert load.load(weights).fields["attention"]["channels"] == 4


def test_it_needs_neither_tensorflow_nor_opencv():
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'cv2', 'skimage', 'clu', 'tensorflow_datasets'):\n"
        "    sys.modules[name] = None\n"
        "import raindrop.pretrained.train_full"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
