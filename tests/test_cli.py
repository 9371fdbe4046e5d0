"""What the command line makes of what is typed. Whole runs are in the wings' tests."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import raindrop
from raindrop import cli
from raindrop.cli.modes import MODES

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Nothing that is asked for here may write anything."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def error(capsys, *argv):
    assert cli.main(argv) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert len(printed.err.splitlines()) == 1
    return printed.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("derian a b", "did you mean derain?"),
        ("wet.jpg dry.png", "derain wet.jpg OUTPUT"),
        ("--mode=nonsense", "there is no mode 'nonsense'"),
        ("derain --mode=train", "one mode at a time"),
        ("derain", "derain needs INPUT and OUTPUT"),
        ("derain wet.jpg", "derain needs OUTPUT"),
        ("--mode=derain --input=wet.jpg", "derain needs OUTPUT"),
        ("derain a b --input=c", "INPUT is given twice"),
        ("derain a.jpg b.jpg out", "quote a glob"),
        ("derain a b --wieghts=c", "did you mean --weights?"),
        ("derain a b --temporal=2", "from 0 to 0.99"),
        ("derain a b --temporal=much", "--temporal"),
        ("derain a b --overwrite=perhaps", "true or false"),
        ("derain a b --config=lite", "derain does not use --config; train"),
        ("render a b --copies=0", "whole number above 0"),
        ("convert a b --dtype=int8", "float16"),
        ("export a", "export needs OUTPUT"),
        ("export a b.onnx --format=pdf", "stablehlo"),
        ("derain a b --engine=abacus", "openvino"),
        ("train", "train needs a config"),
        ("train --config=quickstart --weights=W", "--config.training.weights=WEIGHTS"),
        ("--config=quickstart --weights=W", "--config.training.weights=WEIGHTS"),
        ("--config=quickstart --attention", "train does not use --attention; derain"),
        ("--weights=W", "--weights needs a mode"),
        ("--workdir=runs/a --conf.training.seed=3", "needs a mode"),
        ("--config=nowhere", "by name there are "),
        ("--config=configs/nowhere.py", "no config file configs/nowhere.py"),
        ("--config=quickstart:big", "no text after a colon"),
        ("--config=ablation:B", "there are A, A+D"),
        ("--config.training.num_stepz=3", "did you mean num_steps"),
        ("--config.trainin.num_steps=3", "did you mean training"),
        ("--config.training.num_steps=abc", "num_steps"),
        ("--config.training.num_steps=0", "training.num_steps must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_that_helps(typed, words, capsys):
    assert words in error(capsys, *typed.split())


def test_nothing_starts_by_accident(capsys):
    assert cli.main([]) == 2
    assert "modes:" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-h", "--help", "--helpfull"])
def test_help_names_every_mode(flag, capsys):
    assert cli.main([flag]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in MODES)


@pytest.mark.parametrize("name", MODES)
def test_help_of_a_mode_has_its_flags_and_defaults(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert not end.value.code
    printed = capsys.readouterr().out
    assert ("--config.GROUP.FIELD" in printed) == MODES[name].takes_config
    for words in {
        "derain": ("INPUT OUTPUT", "default: lite", "default: 768", "default: 0.0"),
        "render": ("default: 1",),
        "convert": ("default: float32",),
        "train": ("default: runs/", "quickstart"),
    }.get(name, ()):
        assert words in " ".join(printed.split())


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"raindrop {raindrop.__version__}\n"


@pytest.fixture
def seen(monkeypatch):
    """The options that a mode would have run with."""
    kept = []
    for name, mode in MODES.items():
        monkeypatch.setitem(MODES, name, dataclasses.replace(mode, run=kept.append))
    return kept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--mode=derain --input=a --output=b", "derain --input a --output b"),
        ("--mode derain --input a --output=b", "derain --output=b --input=a"),
        ("--mode=derain --overwrite", "derain --overwrite=true"),
        ("--mode=derain --nooverwrite", "derain --overwrite=false"),
        ("--config=lite --workdir=w", "train --workdir w --config lite"),
        (
            "--config.training.seed=3 --config=lite",
            "--config=lite --config.training.seed 3",
        ),
        (
            "--mode=render --config.data.blurred=0.5 a b",
            "render a --config.data.blurred 0.5 b",
        ),
    ],
)
def test_what_was_typed_before_goes_on_working(old, new, seen):
    assert cli.main(old.split()) == cli.main(new.split()) == 0
    assert seen[0] == seen[1]


def test_paths_and_flags_in_any_order(seen):
    cli.main(["derain", "wet.jpg", "--weights=~/w", "dry.png", "--attention"])
    options = seen[0]
    assert (options.input, options.output) == ("wet.jpg", "dry.png")
    assert options.weights == os.path.expanduser("~/w")
    assert options.attention


def test_a_missing_package_is_named(monkeypatch, capsys):
    def run(options):
        import no_such_package.at_all  # noqa: F401

    fake = dataclasses.replace(MODES["derain"], run=run)
    monkeypatch.setitem(MODES, "derain", fake)
    line = error(capsys, "derain")
    assert "needs the package no_such_package" in line
    assert "pip install 'raindrop[train]'" in line


def test_a_picture_waits_for_no_tensorflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("derain")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "wet.png")
    code = (
        "import sys; from raindrop import cli;"
        "code = cli.main(['derain', 'wet.png', 'dry.png']);"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'clu', 'keras', 'cv2',"
        " 'skimage', 'h5py'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "dry.png").exists()
