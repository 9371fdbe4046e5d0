"""Which files of a folder are taken, what is said of the others, who does which."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_generator
from PIL import Image

from raindrop.errors import UserError
from raindrop.media import atomic, formats, pictures
from raindrop.restoration import jobs, summary
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.files import derain_files
from raindrop.restoration.jobs import Options
from raindrop.weights import safetensors_file

RNG = np.random.default_rng(0)
ROOT = Path(__file__).parents[2]
REPORTS = ROOT.parent / "shared" / "reports"
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
formats.enable_plugins()


@pytest.fixture(scope="module")
def derainer():
    return Derainer(tiny_generator.loaded())


def picture(path, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8))
    image.save(path, kind or formats.FORMATS[path.suffix])


def results(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(map(str, found))


def test_every_kind_of_picture_is_taken_and_all_else_named(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    for name in ("a.jfif", "b.jpe", "c.gif", "d.avif", "e.heic", "f.bmp", "g.png"):
        picture(x / name)
    picture(x / "without", "PNG")
    picture(x / "odd.ending", "JPEG")
    (x / "notes.txt").write_text("no picture")
    (x / ".hidden.png").write_bytes(b"")
    (x / ".git").mkdir()
    (x / "dead.png").symlink_to("nowhere")
    os.mkfifo(x / "pipe.png")
    done = derain_files(derainer, x, y)
    assert (done.done, done.failed) == (9, [])
    assert results(y) == [
        *("a.jfif", "b.jpe", "c.gif.png", "d.avif", "e.heic", "f.bmp", "g.png"),
        *("odd.ending.jpg", "without.png"),
    ]
    for name in results(y):
        assert pictures.image_size(y / name) == (8, 8)
        assert formats.of_content(y / name) == formats.of_name(name)
    assert {path.name: why for path, why in done.not_taken} == {
        "notes.txt": "neither a picture nor a video",
        ".hidden.png": "hidden",
        ".git": "hidden",
        "dead.png": "a link that leads nowhere",
        "pipe.png": "not a file",
    }
    assert "5 not taken" in str(done)
    assert all(path.name in str(done) for path, _ in done.not_taken)
    # Again, nothing is left to do, whatever the results are called.
    again = derain_files(derainer, x, y)
    assert (again.done, again.skipped) == (0, 9)


@pytest.mark.skipif(not REPORTS.exists(), reason="no ../shared")
def test_pictures_of_the_reports(tmp_path, derainer):
    done = derain_files(derainer, REPORTS / "pictures", tmp_path)
    assert (done.done, done.failed, done.not_taken) == (4, [], [])
    done = derain_files(derainer, REPORTS / "metadata", tmp_path)
    assert not done.notes
    before, after = (
        pictures.decode(f / "photo.jpg") for f in (REPORTS / "metadata", tmp_path)
    )
    assert (after.xmp, after.iptc) == (before.xmp, before.iptc)
    assert after.comment == before.comment == b"from the bridge"
    after = pictures.decode(tmp_path / "picture.png")
    assert after.text == {"Description": "Bridge in the rain"}


def test_linked_folders_and_loops(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    picture(x / "sub" / "a.png")
    picture(tmp_path / "other" / "b.png")
    (x / "link").symlink_to(tmp_path / "other")
    (x / "again").symlink_to("sub")
    (x / "sub" / "loop").symlink_to(x)
    (tmp_path / "other" / "up").symlink_to(tmp_path)
    expected = ["again/a.png", "link/b.png", "sub/a.png"]
    done = derain_files(derainer, x, y)
    assert results(y) == expected
    assert {path.name for path, why in done.not_taken if "link back" in why} == {
        "loop",
        "up",
    }
    done = derain_files(derainer, x / "**" / "*.png", tmp_path / "z")
    assert results(tmp_path / "z") == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d [1]/*.png", ["a.png", "w[2].png"]),
        ("d [1]/w[2]*", ["w[2].png"]),
        ("d [1]/[a-c].png", ["a.png"]),
        ("d*/*.png", ["d [1]/a.png", "d [1]/w[2].png"]),
        ("**/[aw]*.png", ["d [1]/a.png", "d [1]/w[2].png"]),
    ],
)
def test_brackets_in_patterns(tmp_path, derainer, pattern, expected):
    for name in ("a.png", "w[2].png"):
        picture(tmp_path / "x" / "d [1]" / name)
    derain_files(derainer, tmp_path / "x" / pattern, tmp_path / "y")
    assert results(tmp_path / "y") == expected


def test_a_folder_that_a_pattern_means_is_named(tmp_path, derainer):
    picture(tmp_path / "x" / "a.png")
    picture(tmp_path / "x" / "sub" / "b.png")
    done = derain_files(derainer, tmp_path / "x" / "*", tmp_path / "y")
    assert [path.name for path, why in done.not_taken if "folder" in why] == ["sub"]


def test_long_names_and_names_that_are_not_utf8(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    names = ["n" * 251 + ".png", "ü" * 125 + ".png", "\udcff\udcfe.png", "n" * 255]
    for name in names:
        picture(x / name, "PNG")
    options = Options(compare=True, attention=True)
    done = derain_files(derainer, x, y, options)
    assert (done.done, done.failed) == (4, [])
    assert set(names[:3]) < set(os.listdir(y))
    assert len(os.listdir(y)) == 4 * 5  # two maps, overlay, comparison
    assert derain_files(derainer, x, y, options).skipped == 4
    with pytest.raises(UserError, match="too long"):
        derain_files(derainer, x / ("m" * 300), y)


def test_names_of_bytes_are_printed_and_written(tmp_path):
    picture(tmp_path / "x" / "\udcff.png")
    (tmp_path / "x" / "\udcfe.txt").write_text("")
    done = run(tmp_path, f"--summary={tmp_path / 's.json'}", env={"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    assert "1 done" in done.stdout
    assert "\udcfe.txt" in done.stdout or "\\xfe.txt" in done.stdout
    total, content = summary.read(tmp_path / "s.json")
    assert total.not_taken[0][0].name == "\udcfe.txt"
    assert content["versions"]["raindrop"]


def test_results_of_one_name_are_refused(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    picture(x / "photo", "PNG")
    picture(x / "photo.png")
    picture(x / "photo.png.compare.png")
    done = derain_files(derainer, x, y, Options(compare=True))
    assert done.done == 1
    assert sorted(path.name for path, _ in done.failed) == [
        "photo",
        "photo.png.compare.png",
    ]
    assert all("rename one" in why for _, why in done.failed)
    np.testing.assert_array_equal(
        pictures.read_image(y / "photo.png"),
        derainer.derain(pictures.read_image(x / "photo.png")),
    )


def test_what_another_process_writes_is_left_to_it(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    for name in ("a.png", "b.png"):
        picture(x / name)
    with atomic.replacing(y / "a.png") as part:
        part.write_bytes(b"half")
        done = derain_files(derainer, x, y)
        assert (done.done, done.skipped, done.failed) == (1, 1, [])
        assert "left to another process" in str(done)
        assert part.read_bytes() == b"half"


def test_what_another_process_has_made_meanwhile_stays(tmp_path, derainer, monkeypatch):
    x, y = tmp_path / "x", tmp_path / "y"
    picture(x / "a.png")
    size = pictures.image_size

    def meanwhile(path):
        picture(y / "a.png")
        return size(path)

    monkeypatch.setattr(pictures, "image_size", meanwhile)
    done = derain_files(derainer, x, y)
    assert (done.done, done.skipped) == (0, 1)


def test_processes_share_a_folder(tmp_path, derainer):
    x, y = tmp_path / "x", tmp_path / "y"
    for i in range(24):
        picture(x / f"{i % 3}" / f"{i}.png")
    (x / "notes.txt").write_text("")
    (x / "0" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    parts = [
        derain_files(derainer, x, y, Options(num_processes=3, process_id=i))
        for i in range(3)
    ]
    assert all(part.done for part in parts)
    assert sum(part.done for part in parts) == 24
    assert sum(len(part.failed) for part in parts) == 1
    assert sum(len(part.not_taken) for part in parts) == 1
    files = sorted(y.glob("summary-*-of-0003.json"))
    total, missing = summary.add_up(files)
    assert (total.done, len(total.failed), missing) == (24, 1, [])
    assert len(results(y)) == 24 + 3
    # One of them again, as after an end before its time: what is there stays.
    (y / "0" / "0.png").unlink()
    again = [
        derain_files(derainer, x, y, Options(num_processes=3, process_id=i))
        for i in range(3)
    ]
    assert sorted(part.done for part in again) == [0, 0, 1]
    total, _ = summary.add_up(files)
    assert total.done + total.skipped == 24
    files[1].unlink()
    assert summary.add_up([files[0], files[2]])[1] == [1]
    assert summary.main([str(files[0]), str(files[2])]) == 1
    for wrong in ([files[0], files[0]], [x / "notes.txt"], [y / "none"]):
        with pytest.raises(UserError):
            summary.add_up(wrong)


def test_a_share_is_by_name_alone(tmp_path):
    """Files that come or go move no other file to another process."""
    for i in range(40):
        picture(tmp_path / "x" / f"{i}.png")

    def owners():
        found = jobs.find(tmp_path / "x", tmp_path / "y")
        return {name: i for i in range(4) for name in found.part(4, i).jobs}

    before = owners()
    assert len(before) == 40
    assert set(before.values()) == {0, 1, 2, 3}
    for i in range(0, 40, 2):
        (tmp_path / "x" / f"{i}.png").unlink()
    picture(tmp_path / "x" / "new.png")
    after = owners()
    after.pop("new.png")
    assert after.items() < before.items()
    for count, process in [(4, 4), (4, -1), (0, 0)]:
        with pytest.raises(UserError, match="counted from 0"):
            jobs.find(tmp_path / "x", tmp_path / "y").part(count, process)


def run(folder, *flags, env=None):
    weights = folder / "w.safetensors"
    safetensors_file.write(tiny_generator.loaded(), weights, "float32")
    command = [sys.executable, "main.py", "derain", f"--weights={weights}"]
    return subprocess.run(
        [*command, str(folder / "x"), str(folder / "y"), *flags],
        cwd=ROOT,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


def test_two_processes_on_one_folder_at_once(tmp_path):
    """The same command twice: no result is lost, none is half."""
    for i in range(30):
        picture(tmp_path / "x" / f"{i}.png")
    weights = tmp_path / "w.safetensors"
    safetensors_file.write(tiny_generator.loaded(), weights, "float32")
    command = [
        *(sys.executable, "main.py", "derain", f"--weights={weights}"),
        *(str(tmp_path / "x"), str(tmp_path / "y")),
    ]
    both = [subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert results(tmp_path / "y") == results(tmp_path / "x")
    for path in (tmp_path / "y").iterdir():
        pictures.decode(path)


def test_the_output_of_a_run_is_counted_in_a_summary(tmp_path):
    picture(tmp_path / "x" / "a.gif")
    done = run(tmp_path, "--num_processes=2", "--process_id=0")
    other = run(tmp_path, "--num_processes=2", "--process_id=1")
    assert done.returncode == other.returncode == 0, done.stderr + other.stderr
    files = sorted((tmp_path / "y").glob("summary-*.json"))
    assert sum(json.loads(path.read_text())["done"] for path in files) == 1
    command = [sys.executable, "-m", "raindrop.restoration.summary", *map(str, files)]
    added = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert added.returncode == 0
    assert "1 done, 0 there already, 0 failed" in added.stdout


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    loaded = tiny_generator.loaded()
    leaf = loaded.params["autoencoder"]
    while isinstance(leaf, dict):
        place, (name, leaf) = leaf, next(iter(leaf.items()))
    place[name] = np.full_like(leaf, value)
    with pytest.raises(UserError, match=f"not finite .*{name}"):
        Derainer(loaded)


def test_outputs_that_are_not_finite_are_refused(tmp_path):
    loaded = tiny_generator.loaded()

    def explode(leaf):
        return np.full_like(leaf, 3e38)

    broken = Derainer(
        type(loaded)(loaded.fields, jax.tree.map(explode, loaded.params), "t")
    )
    image = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="output is not finite"):
        broken.derain(image)
    picture(tmp_path / "x" / "a.png")
    done = derain_files(broken, tmp_path / "x", tmp_path / "y")
    assert "not finite" in done.failed[0][1]
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("tile", [None, 64])
def test_floats_beyond_one_are_refused(tile):
    derainer = Derainer(tiny_generator.loaded(), tile)
    image = RNG.random((80, 90, 3))
    derainer.derain(image)
    derainer.derain(image.astype(np.float32) * 1.1 - 0.05)
    for wrong, dtype in itertools.product(
        (image * 255, image * 2 - 1, image * np.nan), (np.float16, np.float32)
    ):
        with pytest.raises(UserError, match=r"values in \[0, 1\]"):
            derainer.derain(wrong.astype(dtype))
        with pytest.raises(UserError, match=r"values in \[0, 1\]"):
            derainer.run(wrong.astype(dtype))
