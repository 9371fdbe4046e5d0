"""docs/export.md's example, run as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import raindrop
from raindrop.weights import PRETRAINED
from raindrop.weights.weight_files import read_generator

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from raindrop.export import onnx_file

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
ALONE = "import sys; assert not {'jax', 'raindrop', 'onnx'} & set(sys.modules)"


def test_python_without_raindrop(tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    (tmp_path / "example.py").write_text(f"{code}\n{ALONE}\n")
    onnx_file.write(read_generator(PRETRAINED), tmp_path / "lite.onnx", "float32")
    rows, columns = np.mgrid[:75, :110]
    waves = [np.sin(rows / a) * np.cos(columns / (a + 4)) for a in (7, 11, 17)]
    wet = 127 + 100 * np.stack(waves, -1)
    for row, column in np.random.default_rng(0).uniform((0, 0), (75, 110), (40, 2)):
        wet[np.hypot(rows - row, columns - column) < 3] = 230  # beads, lit
    wet = np.uint8(wet)
    np.save(tmp_path / "wet.npy", wet)
    subprocess.run([sys.executable, "example.py"], cwd=tmp_path, check=True)
    dry = np.load(tmp_path / "dry.npy").astype(int)
    expected = raindrop.load().derain(wet)
    assert np.abs(dry - expected).max() <= 1
    assert np.abs(dry - wet).max() > 1  # it did something
