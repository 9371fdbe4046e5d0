"""Bad configs and bad data: one line, exit code 2, nothing left behind."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny

from configs import ablation, default
from raindrop.data import photographs, pipeline
from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.training import config_check
from raindrop.training.loop import train_and_evaluate

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("training.num_stepz", 3, "did you mean num_steps"),
        ("model.generator.residul", True, "did you mean residual"),
        ("loss.perceptal", 1.0, "did you mean perceptual"),
        ("training.batch_size", "8", "a whole number"),
        ("data.flip", 1, "true or false"),
        ("optimizer.learning_rate", "fast", "a number"),
        ("model.discriminator.channels", (4, "a"), "list of values like 8"),
        ("data", 3, "a group of fields"),
    ],
)
def test_fields(field, value, words):
    config = tiny.get_config()
    *groups, name = field.split(".")
    group = config
    for part in groups:
        group = group[part]
    with group.unlocked(), group.ignore_type():
        group[name] = value
    with pytest.raises(UserError, match=words) as error:
        config_check.fields(config, default.get_config())
    assert field in str(error.value)


def test_a_missing_field_is_named():
    config = tiny.get_config()
    del config.training.seed
    with pytest.raises(UserError, match=r"training\.seed is missing"):
        config_check.fields(config, default.get_config())


def test_configs_of_this_repository_are_well():
    for path in sorted((ROOT / "configs").glob("[a-z]*.py")):
        if path.stem != "rendering":
            scope = {}
            exec(f"from configs.{path.stem} import get_config", scope)
            config_check.fields(scope["get_config"](), default.get_config())
            config_check.values(scope["get_config"]())
    for part in ablation.PARTS:
        config_check.fields(ablation.get_config(part), default.get_config())
        config_check.values(ablation.get_config(part))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        image = rng.integers(0, 256, (24, 28, 3)).astype(np.uint8)
        pictures.write_image(tmp_path / "photos" / f"{i}.png", image)
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data.crop_size": 18}, "multiple of 4"),
        ({"data.crop_size": 0}, "multiple of 4"),
        ({"data.crop_size": 28}, "smaller crop"),
        ({"data.blurred": 1.5}, "from 0 to 1"),
        ({"data.haze": (0.8, 0.4)}, "smallest first"),
        ({"data.blur": (0.0, 8.0)}, "above 0"),
        ({"training.batch_size": 6}, "multiple of 8"),
        ({"training.batch_size": 0}, "at least 1"),
        ({"training.log_every": 0}, "at least 1"),
        ({"training.ema_decay": 1.5}, "below 1"),
        ({"optimizer.learning_rate": float("nan")}, "at least 0"),
        ({"eval.protocol": "best"}, "one of release"),
        ({"loss.map_target": "moon"}, "one of"),
        ({"data.on_error": "shrug"}, "one of raise, skip"),
        ({"data.scale": (0.0, 0.0)}, "above 0"),
        ({"data.scale": (1.5,)}, "two numbers"),
        ({"data.rendering.mask_rule": "diff"}, "geometry or difference"),
        ({"data.rendering.cell": (8,)}, "beyond their cell"),
        ({"data.rendering.cell": (8, 16)}, "differ in length"),
        ({"loss.multiscale": (0.5, 1.0)}, "must have 3 numbers"),
        ({"model.generator.attention.steps": 0}, "map_target=mask"),
        ({"optimizer.name": "sgd"}, "one of adam, muon"),
        ({"optimizer.schedule": "exponential"}, "one of constant, cosine, linear"),
        ({"training.weights": "WEIGHTS"}, r"training\.weights: WEIGHTS cannot be read"),
        ({"data.photos": "/nowhere"}, "not a folder"),
        ({"data.name": "nothing"}, "nothing"),
    ],
)
def test_values_and_data(fields, words, photos, tmp_path):
    """Told before anything is compiled; the work directory is not even made."""
    config = tiny.get_config()
    config.data.photos = str(photos)
    config.update_from_flattened_dict(fields)
    with pytest.raises(UserError, match=words) as error:
        train_and_evaluate(config, tmp_path / "a" / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a").exists()


def test_unreadable_pictures_in_the_middle_of_a_data_set(photos, tmp_path, caplog):
    """Named; fatal, or skipped in the same way every time."""
    for i in range(3, 9):
        shutil.copy(photos / "0.png", photos / f"{i}.png")
    whole = (photos / "0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    config = tiny.get_config()
    config.data.photos = str(photos)
    config.eval.num_images = 1
    assert "cut.png" not in {p.name for p in photographs.split(str(photos), 1)[1]}

    def take(batches):
        return [b["images"] for b in itertools.islice(batches, 3)]

    with pytest.raises(UserError, match=r"cut\.png cannot be decoded"):
        take(pipeline.crops(config, 0))
    config.data.on_error = "skip"
    first, second = take(pipeline.crops(config, 0)), take(pipeline.crops(config, 0))
    np.testing.assert_array_equal(first, second)
    assert caplog.text.count("cut.png cannot be decoded") == 2  # once a run
    (photos / "none.png").write_text("no picture")
    take(pipeline.crops(config, 0))
    assert "none.png" in caplog.text


def test_work_directories_that_cannot_be_written(photos, tmp_path):
    config = tiny.get_config()
    config.data.photos = str(photos)
    (tmp_path / "file").write_text("")
    for workdir in ("/proc/run", tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be written"):
            train_and_evaluate(config, workdir)
