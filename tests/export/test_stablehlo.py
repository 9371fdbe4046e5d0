"""Exported to StableHLO, networks run where neither raindrop nor Flax is."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_generator

from raindrop.errors import UserError
from raindrop.export import stablehlo_file
from raindrop.restoration.engine import JaxEngine

ELSEWHERE = """
import sys
from pathlib import Path
import jax, numpy as np
from jax import export
exported = export.deserialize(Path("model.stablehlo").read_bytes())
for name in ("small", "batch"):
    clean, attention = exported.call(np.load(f"{name}.npy"))
    np.savez(f"{name}.npz", clean=clean, attention=attention)
assert not {"flax", "raindrop"} & set(sys.modules)
"""


def test_read_back_and_run_without_raindrop(tmp_path):
    loaded = tiny_generator.loaded(patch_size=2, gated=True)
    stablehlo_file.write(loaded, tmp_path / "model.stablehlo", "float32")
    rng = np.random.default_rng(0)
    images = {
        "small": rng.random((1, 8, 16, 3), np.float32),
        "batch": rng.random((2, 24, 8, 3), np.float32),
    }
    for name, image in images.items():
        np.save(tmp_path / f"{name}.npy", image)
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=tmp_path, check=True)
    engine = JaxEngine(loaded)
    for name, image in images.items():
        clean, attention = engine.run(image, None, True)
        with np.load(tmp_path / f"{name}.npz") as found:
            np.testing.assert_allclose(found["clean"], clean, atol=1e-5)
            np.testing.assert_allclose(found["attention"], attention, atol=1e-5)
    said = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert said["multiple"] == "8"
    assert said["inputs"] == {"image": ["batch", "height", "width", 3]}


def test_what_cannot_be_written_is_one_line(tmp_path):
    loaded = tiny_generator.loaded()
    with pytest.raises(UserError, match=r"must end in \.stablehlo"):
        stablehlo_file.write(loaded, tmp_path / "model.onnx", "float32")
    assert not list(tmp_path.iterdir())
