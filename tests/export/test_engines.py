"""Other runtimes clean pictures as JAX does."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_generator

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.restoration import files
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.smoothing import Smoothing
from raindrop.weights import PRETRAINED
from raindrop.weights.weight_files import read_generator

pytest.importorskip("onnx")

from raindrop.export import engines

# Grey levels that the result may be away from JAX's in float32.
KINDS = [
    ("onnxruntime", "float32", 1),
    ("openvino", "float32", 1),
    ("openvino", "bfloat16", 2),
]


def made(name, loaded, precision="float32"):
    pytest.importorskip(name)
    return engines.make(name, loaded, precision)


def picture(height, width):
    """Something with gradients: in noise nothing of a picture is left."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / a) * np.cos(columns / (a + 4)) for a in (7, 11, 17)]
    return np.uint8(127 + 100 * np.stack(waves, -1))


@pytest.fixture(scope="module")
def lite():
    return read_generator(PRETRAINED)


def distance(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


@pytest.mark.parametrize(("name", "precision", "most"), KINDS)
def test_same_pictures_as_jax(lite, name, precision, most):
    # One that is padded, one that is cut into tiles.
    plain = Derainer(lite, tile=96)
    other = Derainer(lite, tile=96, engine=made(name, lite, precision))
    for image in (picture(70, 101), picture(100, 150)):
        expected, maps = plain.derain(image, attention=True)
        cleaned, others = other.derain(image, attention=True)
        assert distance(cleaned, expected) <= most
        np.testing.assert_allclose(others, maps, rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_same_video_frames_as_jax(name):
    loaded = tiny_generator.loaded()
    frames = [picture(33, 50), picture(33, 50)[::-1].copy()]
    results = [
        Derainer(loaded, engine=engine).run_many(
            frames, attention=True, smoothing=Smoothing(0.5)
        )
        for engine in (None, made(name, loaded))
    ]
    for (expected, maps), (cleaned, others) in zip(*results, strict=True):
        assert distance(cleaned, expected) <= 1
        np.testing.assert_allclose(others, maps, atol=1e-4)


def test_a_folder_of_many_sizes(tmp_path):
    # No engine but JAX pads pictures to a shared size; the last batch is smaller.
    loaded = tiny_generator.loaded()
    (tmp_path / "wet").mkdir()
    for i in range(10):
        image = picture(16 + 4 * (i // 2), 24)
        pictures.write_image(tmp_path / "wet" / f"{i}.png", image)
    plain = Derainer(loaded)
    derainer = Derainer(loaded, engine=made("onnxruntime", loaded))
    summary = files.derain_files(derainer, tmp_path / "wet", tmp_path / "dry")
    assert (summary.done, summary.failed) == (10, [])
    for path in sorted((tmp_path / "wet").iterdir()):
        expected = plain.derain(pictures.read_image(path))
        cleaned = pictures.read_image(tmp_path / "dry" / path.name)
        assert distance(cleaned, expected) <= 1


def test_no_attention_steps():
    loaded = tiny_generator.loaded(attention={"steps": 0})
    image = picture(16, 16)
    derainer = Derainer(loaded, engine=made("onnxruntime", loaded))
    cleaned, maps = derainer.derain(image, attention=True)
    assert distance(cleaned, Derainer(loaded).derain(image)) <= 1
    assert maps.shape == (0, 16, 16, 1)


def test_what_an_engine_lacks_is_one_line(monkeypatch):
    loaded = tiny_generator.loaded()
    with pytest.raises(UserError, match="bfloat16 is for --engine=openvino"):
        made("onnxruntime", loaded, "bfloat16")
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package onnx: pip install onnx"):
        engines.make("openvino", loaded)


def test_openvino_reports_to_nobody():
    pytest.importorskip("openvino")
    program = (
        "import os, sys; sys.path[:0] = ['.', 'tests'];"
        "os.fork = lambda: sys.exit('a process was started');"
        "import tiny_generator; from raindrop.export import engines;"
        "engines.make('openvino', tiny_generator.loaded());"
        "assert not any(m.startswith('openvino_telemetry') for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
