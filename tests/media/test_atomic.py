import os
import subprocess
import sys
from pathlib import Path

import pytest

from raindrop.media import atomic

ROOT = Path(__file__).parents[2]


def test_two_cannot_write_the_same_file(tmp_path):
    path = tmp_path / "a.png"
    with atomic.replacing(path) as part:
        part.write_text("one")
        for _ in range(2):
            refused = pytest.raises(atomic.InUseError, match="another process")
            with refused, atomic.replacing(path):
                raise AssertionError
        assert part.read_text() == "one"
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.png"]


def test_another_process_is_told_and_a_killed_one_is_no_obstacle(tmp_path):
    path = tmp_path / "a.png"
    code = (
        "import os, sys; from pathlib import Path; from raindrop.media import atomic\n"
        f"with atomic.replacing(Path({str(path)!r})) as part:\n"
        "    part.write_text('half of it'); print('held', flush=True)\n"
        "    sys.stdin.read(); os._exit(9)"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(atomic.InUseError), atomic.replacing(path):
            raise AssertionError
        process.stdin.close()
        assert process.wait() == 9
    assert not path.exists()
    with atomic.replacing(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.png"]


def test_nothing_is_left_of_what_went_wrong(tmp_path):
    (tmp_path / "a").write_text("before")
    with pytest.raises(RuntimeError), atomic.replacing(tmp_path / "a") as part:
        part.write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"
    with (
        atomic.held(tmp_path / "b"),
        pytest.raises(atomic.InUseError),
        atomic.held(tmp_path / "b"),
    ):
        raise AssertionError
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["n" * 251, "ü" * 125, "\udcff" * 251, "€" * 83])
def test_names_are_never_longer_than_the_file_system_takes(tmp_path, name):
    path = tmp_path / f"{name}.png"
    endings = [".part", ".attention-1.png", ".compare.png", ".mkv"]
    names = [atomic.beside(path, ending, hidden=True) for ending in endings]
    assert len(set(names)) == len(names)
    for one, ending in zip(names, endings, strict=True):
        assert one.name.endswith(ending)
        one.touch()
    # Of names that begin alike each has its own.
    other = atomic.beside(tmp_path / f"{name}.jpg", ".compare.png", hidden=True)
    assert other not in names
    with atomic.replacing(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole"


def test_short_names_stay_as_they_are(tmp_path):
    assert atomic.beside(tmp_path / "a.png", ".x.png").name == "a.png.x.png"
