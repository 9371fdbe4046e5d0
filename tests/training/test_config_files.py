import sys

import pytest

from raindrop.errors import UserError
from raindrop.training import config_files

OWN = """
from configs import default
from configs.{neighbour} import SEED


def get_config({arguments}):
    config = default.get_config()
    config.training.seed = SEED
    return config
"""


@pytest.fixture
def own(tmp_path):
    """A config file of a person's own, with a module beside it."""
    (tmp_path / "seeds.py").write_text("SEED = 17")
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(neighbour="seeds", arguments=""))
    return path


def test_every_config_that_comes_with_it_loads():
    assert {"default", "quickstart", "paper"} <= set(config_files.names())
    for name in config_files.names():
        assert config_files.load_config(name).training.num_steps > 0


def test_a_config_of_ones_own_builds_on_the_default(own, monkeypatch):
    # As in an installed raindrop, which has no `configs` on Python's path.
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" in p])
    before = {name for name in sys.modules if name.startswith("configs")}
    config = config_files.load_config(own)
    assert config.training.seed == 17
    assert config.data.crop_size == config_files.load_config("default").data.crop_size
    assert {name for name in sys.modules if name.startswith("configs")} == before


def test_text_after_a_colon_goes_to_get_config(own, tmp_path):
    path = tmp_path / "choice.py"
    path.write_text(OWN.format(neighbour="seeds", arguments="choice"))
    assert config_files.load_config(f"{path}:A").training.seed == 17
    with pytest.raises(UserError, match="needs one"):
        config_files.load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "no get_config"),
        ("def get_config():\n    return {}", "must return a ConfigDict"),
    ],
)
def test_files_that_are_no_configs(text, words, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        config_files.load_config(path)


def test_fields_are_set_with_their_types():
    config = config_files.load_config("default")
    config_files.override(
        config,
        [
            "--config.training.seed=3",
            "--config.optimizer.learning_rate=1",
            "--config.eval.lpips",
            "--noconfig.data.flip",
            "--config.loss.multiscale=(0.1, 0.2, 0.3)",
            "--config.data.photos=some where",
        ],
    )
    assert config.training.seed == 3
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.eval.lpips
    assert not config.data.flip
    assert config.loss.multiscale == (0.1, 0.2, 0.3)
    assert config.data.photos == "some where"


def test_a_field_that_does_not_exist_cannot_be_set():
    config = config_files.load_config("default")
    with pytest.raises(UserError, match=r"config\.training\.num_stepz does not exist"):
        config_files.override(config, ["--config.training.num_stepz=3"])
    with pytest.raises(AttributeError):
        config.training.num_stepz = 3
