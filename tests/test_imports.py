"""Which wing may import which: the contracts in pyproject.toml, and what JAX needs."""

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
