"""What is installed is what is imported, and what is promised is there."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import raindrop

ROOT = Path(__file__).parents[1]
# Imported where they are installed, and said where they are missed.
OPTIONAL = {"pillow_jxl", "rawpy", "IPython"}


def test_the_names_of_the_package_are_there():
    for name in raindrop.__all__:
        assert getattr(raindrop, name) is not None
    assert set(raindrop.__all__) <= set(dir(raindrop))


def required(path):
    """Names of the distributions in a requirements file and those it includes."""
    names = set()
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            names |= required(path.parent / line[3:])
        elif line and not line.startswith("#"):
            names.add(re.match(r"[\w.-]+", line)[0].lower().replace("_", "-"))
    return names


def imported():
    """Top-level packages that raindrop's modules and configs import."""
    for folder in ("raindrop", "configs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield node.module.partition(".")[0]


def test_every_import_is_among_the_requirements():
    listed = set().union(*map(required, (ROOT / "requirements").glob("*.txt")))
    # TensorFlow brings Keras, in either of its forms.
    listed |= {"tensorflow", "keras"}
    distributions = importlib.metadata.packages_distributions()
    ours = {"raindrop", "configs", *sys.stdlib_module_names, *OPTIONAL}
    for name in set(imported()) - ours:
        names = {n.lower().replace("_", "-") for n in distributions.get(name, [name])}
        assert names & listed, f"{name} is imported and not in requirements/"


def test_each_group_is_a_file_and_the_other_way_round():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dynamic = groups["tool"]["setuptools"]["dynamic"]
    named = {dynamic["dependencies"]["file"]}
    for group in dynamic["optional-dependencies"].values():
        named |= {group["file"]} if isinstance(group["file"], str) else {*group["file"]}
    files = {f"requirements/{p.name}" for p in (ROOT / "requirements").iterdir()}
    assert named == files | {"requirements-test.txt"}
    everything = required(ROOT / "requirements.txt")
    for name in ("core", "train", "perceptual"):
        assert required(ROOT / "requirements" / f"{name}.txt") <= everything
