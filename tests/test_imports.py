"""Which wing may import which: the contracts in pyproject.toml, and what JAX needs."""

import subprocess
import sys
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_no_wing_imports_one_above_it(capsys):
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


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
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
