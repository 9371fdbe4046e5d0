import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_generator
from PIL import Image

from raindrop.errors import UserError
from raindrop.media import pictures, pixel_values
from raindrop.media.pictures import Picture
from raindrop.restoration import files
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.files import Options, derain_files
from raindrop.weights import safetensors_file

RNG = np.random.default_rng(0)
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}


@pytest.fixture(scope="module")
def derainer():
    return Derainer(tiny_generator.loaded(residual=True))


def picture(*size, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)


@pytest.fixture
def tree(tmp_path):
    """A folder of all formats and kinds, odd sizes, one bad file, other files."""
    x = tmp_path / "x"
    alpha = RNG.integers(0, 255, (12, 9), np.uint8)
    deep = picture(7, 12, dtype=np.uint16)
    pictures.write_image(x / "one.jpg", picture(1, 1))
    pictures.write_image(x / "a" / "three.PNG", picture(3, 5))
    pictures.write_image(x / "a" / "b" / "photo.webp", picture(35, 23))
    pictures.write_image(x / "gray.jpeg", picture(9, 12)[..., 0])
    pictures.encode(x / "alpha.png", Picture(picture(12, 9), alpha))
    pictures.encode(x / "deep.tif", Picture(deep))
    pictures.encode(x / "deep.png", Picture(deep))
    (x / "a" / "bad.png").write_bytes((x / "alpha.png").read_bytes()[:300])
    (x / "notes.txt").write_text("no picture")
    (x / ".hidden.png").write_bytes(b"")
    return x


def names_in(folder):
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(p) for p in found)


def test_folder_keeps_tree_formats_and_kinds(tree, tmp_path, derainer):
    y = tmp_path / "y"
    summary = derain_files(derainer, tree, y)
    assert (summary.done, summary.skipped, len(summary.failed)) == (7, 0, 1)
    assert summary.failed[0][0].name == "bad.png"
    assert "bad.png cannot be decoded" in str(summary)
    others = {"notes.txt", ".hidden.png", "a/bad.png"}
    assert names_in(y) == sorted(set(names_in(tree)) - others)
    for name in names_in(y):
        before, after = pictures.decode(tree / name), pictures.decode(y / name)
        assert after.pixels.shape == before.pixels.shape
        assert after.pixels.dtype == before.pixels.dtype
        assert after.gray == before.gray
        expected = derainer.derain(before.pixels)
        if before.gray:
            expected = np.repeat(pixel_values.gray_of(expected)[..., None], 3, axis=-1)
        exact = name.lower().endswith(("png", "tif"))
        error = np.abs(after.pixels.astype(int) - expected)
        # Shapes common to several sizes change the last bit of few values.
        assert error.max() <= 1 if exact else error.mean() < 40
    before, after = (pictures.decode(p / "alpha.png") for p in (tree, y))
    np.testing.assert_array_equal(after.alpha, before.alpha)

    # Again: nothing is left to do but the bad one.
    times = {name: (y / name).stat().st_mtime_ns for name in names_in(y)}
    again = derain_files(derainer, tree, y)
    assert (again.done, again.skipped, len(again.failed)) == (0, 7, 1)
    over = derain_files(derainer, tree, y, Options(overwrite=True))
    assert over.done == 7
    assert all((y / name).stat().st_mtime_ns > time for name, time in times.items())


def test_glob_takes_what_it_matches(tree, tmp_path, derainer):
    pattern = f"{tree}/**/*.[pP][nN][gG]"
    summary = derain_files(derainer, pattern, tmp_path / "y")
    assert names_in(tmp_path / "y") == ["a/three.PNG", "alpha.png", "deep.png"]
    assert len(summary.failed) == 1


def test_single_file_to_file_or_folder(tree, tmp_path, derainer):
    source = tree / "alpha.png"
    derain_files(derainer, source, tmp_path / "result.jpg")
    assert Image.open(tmp_path / "result.jpg").format == "JPEG"
    derain_files(derainer, source, tmp_path / "folder")
    assert names_in(tmp_path / "folder") == ["alpha.png"]
    for x, y, words in [
        (source, source, "replace its source"),
        (tree, tree, "replace its source"),
        (tree / "none.png", "y", "does not exist"),
        (tree / "notes.txt", "y", "neither a picture nor a video"),
        (source, tmp_path / "y.gif", "y.gif cannot be written"),
        (tree / "a" / "bad.png", tmp_path / "y", "cannot be decoded"),
        (tree, tree / "one.jpg", "is a file"),
        (f"{tree}/*.bmp", "y", "holds no picture"),
    ]:
        with pytest.raises(UserError, match=words):
            derain_files(derainer, x, y)


def test_results_inside_the_source_are_not_sources(tree, derainer):
    first = derain_files(derainer, tree, tree / "clean")
    second = derain_files(derainer, tree, tree / "clean")
    assert (second.done, second.skipped) == (0, first.done)


@pytest.mark.parametrize("size", [(359, 239), (1081, 1921)])
def test_odd_sizes_go_through(tmp_path, derainer, size):
    pictures.write_image(tmp_path / "x.jpg", picture(*size))
    derain_files(derainer, tmp_path / "x.jpg", tmp_path / "y.jpg")
    assert pictures.image_size(tmp_path / "y.jpg") == size


def test_attention_and_comparison_beside_the_result(tree, tmp_path, derainer):
    options = Options(attention=True, compare=True)
    source, target = tree / "alpha.png", tmp_path / "y.png"
    derain_files(derainer, source, target, options)
    pixels = pictures.read_image(source)
    output, maps = derainer.derain(pixels, attention=True)
    for step in (1, 2):
        one = pictures.decode(tmp_path / f"y.png.attention-{step}.png")
        assert one.gray
        expected = pixel_values.from_float(maps[step - 1, ..., 0], np.uint8)
        np.testing.assert_array_equal(one.pixels[..., 0], expected)
    overlay = pictures.read_image(tmp_path / "y.png.overlay.png")
    assert overlay.shape == pixels.shape
    both = pictures.read_image(tmp_path / "y.png.compare.png")
    np.testing.assert_array_equal(both[:, :9], pixels)
    np.testing.assert_array_equal(both[:, -9:], output)
    # A result without all that was asked for is not done.
    (tmp_path / "y.png.overlay.png").unlink()
    assert derain_files(derainer, source, target, options).done == 1


def test_without_attention_there_are_no_maps_to_wait_for(tree, tmp_path):
    plain = Derainer(tiny_generator.loaded(attention={"steps": 0}))
    options = Options(attention=True)
    for skipped in (0, 1):
        source, target = tree / "alpha.png", tmp_path / "y.png"
        summary = derain_files(plain, source, target, options)
        assert summary.skipped == skipped


def test_a_fault_in_one_picture_leaves_the_others(
    tree, tmp_path, derainer, monkeypatch
):
    encode = pictures.encode

    def faulty(path, picture):
        if path.name == "gray.jpeg":
            raise RuntimeError("a fault")
        encode(path, picture)

    monkeypatch.setattr(pictures, "encode", faulty)
    summary = derain_files(derainer, tree, tmp_path / "y")
    assert summary.done == 6
    assert "RuntimeError: a fault" in str(summary)


def test_many_sizes_compile_for_a_handful_of_shapes(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_SHAPES", 2)
    derainer = Derainer(tiny_generator.loaded())
    for i, size in enumerate([(5, 50), (9, 45), (12, 41), (50, 8), (41, 12), (21, 21)]):
        image = picture(*size)
        pictures.write_image(tmp_path / "x" / f"{i}.png", image)
    derain_files(derainer, tmp_path / "x", tmp_path / "y")
    assert len(derainer._engine._programs) <= 2
    for path in (tmp_path / "x").iterdir():
        alone = derainer.derain(pictures.read_image(path)).astype(int)
        result = pictures.read_image(tmp_path / "y" / path.name)
        assert np.abs(alone - result).max() <= 1


def command_line(folder, source, target):
    weights = folder / "w.safetensors"
    safetensors_file.write(tiny_generator.loaded(), weights, "float32")
    return [
        *(sys.executable, "main.py", "--mode=derain", f"--weights={weights}"),
        *(f"--input={source}", f"--output={target}"),
    ]


def test_killed_in_the_middle_it_goes_on(tmp_path):
    """SIGKILL after the third result; at no moment a file in Y that is not whole."""
    x, y = tmp_path / "x", tmp_path / "y"
    for i in range(40):
        pictures.write_image(x / f"{i:02d}.png", picture(64 + 4 * (i % 5), 200))
    command = command_line(tmp_path, x, y)

    def whole_results():
        results = [p for p in y.glob("*") if not p.name.startswith(".")]
        for path in results:
            pictures.decode(path)
        return results

    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT)
    while len(whole_results()) < 3 and process.poll() is None:
        pass
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    survivors = {path.name: path.stat().st_mtime_ns for path in whole_results()}
    assert 3 <= len(survivors) < 40
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert f"{40 - len(survivors)} done, {len(survivors)} there already" in str(done)
    assert [p.name for p in sorted(y.iterdir())] == [f"{i:02d}.png" for i in range(40)]
    assert len(whole_results()) == 40
    assert all((y / name).stat().st_mtime_ns == t for name, t in survivors.items())


def test_exit_codes(tree, tmp_path):
    for source, code, words in [
        (tree / "a", 1, "1 failed"),
        (Path("~/x/a/bad.png"), 2, f"raindrop: {tree / 'a' / 'bad.png'} "),
    ]:
        done = subprocess.run(
            command_line(tmp_path, source, tmp_path / "y"),
            cwd=ROOT,
            env={**ENVIRONMENT, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert words in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
