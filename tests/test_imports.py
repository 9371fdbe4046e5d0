"""The shape of the house: which wing may import which, and how long a function is."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_wing_imports_one_above_it():
    done = run(
        "import sys; from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(no_cache=True))"
    )
    assert done.returncode == 0, done.stdout


def test_training_imports_no_tensorflow():
    """Networks, renderer, losses, step and loop load where there is JAX alone.

    By running, not by reading: what they import in a function is for who asks for it.
    """
    code = (
        "import sys, raindrop.training.loop, raindrop.training.config_check, "
        "raindrop.rendering.render;"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'clu', 'keras', 'torch'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_functions_fit_on_a_screen_or_two():
    long = []
    for path in (ROOT / "raindrop").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > 80:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}, {lines} lines")
    assert not long


def test_wings_are_few_and_nothing_lies_between_them():
    """At most seven modules directly in `raindrop/`: what belongs to no wing."""
    assert len(list((ROOT / "raindrop").glob("*.py"))) <= 7
