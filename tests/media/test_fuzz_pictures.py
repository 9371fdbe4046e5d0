"""A few cases of each kind; benchmarks/fuzz_pictures.py makes hundreds, in a process
that may also hang or crash.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fuzz_pictures

from raindrop.media import pictures

WHOLE = fuzz_pictures.kinds()


@pytest.mark.parametrize("kind", WHOLE)
def test_damaged_pictures_are_refused_or_right_or_said(tmp_path, kind):
    path = tmp_path / "damaged"
    path.write_bytes(WHOLE[kind])
    whole = pictures.decode(path)
    outcomes = set()
    for case in fuzz_pictures.damaged(kind, WHOLE[kind], cases=12, seed=1):
        outcomes.add(fuzz_pictures.outcome(case, whole, path))
    assert outcomes <= set(fuzz_pictures.GOOD)
    assert "refused" in outcomes
