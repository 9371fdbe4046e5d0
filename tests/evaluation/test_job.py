"""Weights on what a config names: where it is written, and what is beside it."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
import tiny_generator

from raindrop.errors import UserError
from raindrop.evaluation import job
from raindrop.media import pictures
from raindrop.training import config_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    rng = np.random.default_rng(0)
    for name in "ab":
        clean = rng.integers(0, 256, (16, 16, 3), np.uint8)
        pictures.write_image(folder / "pairs" / "gt" / f"{name}.png", clean)
        pictures.write_image(folder / "pairs" / "data" / f"{name}.png", clean // 2)
    return folder


@pytest.fixture
def config(folder):
    config = tiny.get_config()
    config.data.name, config.data.dir = "pairs", str(folder / "pairs")
    return config


def test_it_is_written_beside_its_origin(folder, config, monkeypatch):
    monkeypatch.chdir(folder)
    loaded = dataclasses.replace(tiny_generator.loaded(), sha256="12ab34cd" * 8)
    ((result, text, paths),) = job.evaluate_weights(loaded, config)
    (home,) = (folder / "evaluations").iterdir()
    assert home.name == "tests-12ab34cd"
    assert all(path.exists() for path in paths)
    assert loaded.source in text
    stored = json.loads(paths[0].read_text())["provenance"]
    weights = {"name": "tests", "source": "tests", "sha256": loaded.sha256}
    assert stored["weights"] == weights
    assert paths[0].parent == job.default_folder(weights, stored["data"])
    assert stored["data"] == {"name": "pairs", "dir": config.data.dir}
    assert stored["pairs"]["scored"] == 2
    assert stored["protocol"] == "release"
    assert stored["config"] == json.loads(config.to_json_best_effort())
    assert {"date", "versions"} < stored.keys()
    page = (paths[0].parent / "evaluation.html").read_text()
    for text in (loaded.sha256, stored["pairs"]["sha256"], stored["date"]):
        assert text in page
    # Other pictures under the same names are other data.
    again = pictures.read_image(folder / "pairs" / "gt" / "a.png")
    pictures.write_image(folder / "pairs" / "gt" / "a.png", 255 - again)
    ((result, *_),) = job.evaluate_weights(loaded, config)
    assert result["pictures_sha256"] != stored["pairs"]["sha256"]


def test_a_trainings_own_evaluation_is_left_alone(folder, config):
    (folder / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="another --output"):
        next(job.evaluate_weights(tiny_generator.loaded(), config, folder / "run"))


def test_a_runs_config_comes_back_from_json():
    config = tiny.get_config()
    config.loss.multiscale = (1.0, 2.0, 3.0)
    saved = json.loads(config.to_json_best_effort())
    del saved["eval"]["lpips_network"]  # a field that came about since
    restored = config_files.restored(saved)
    assert restored.to_dict() == config.to_dict()
