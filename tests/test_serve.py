"""The page, in a real browser where there is one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import made_video
import numpy as np
import pytest
from PIL import Image

from raindrop.errors import UserError
from raindrop.media import pictures
from raindrop.restoration import derainer, files
from raindrop.weights import PRETRAINED

pytest.importorskip("gradio", reason="needs the extra web")

from fastapi.testclient import TestClient

from raindrop import serve

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def photograph(path):
    """A JPEG with EXIF data, of a size that is no multiple of anything."""
    rows, columns = np.mgrid[:93, :131]
    waves = [np.sin(rows / a) * np.cos(columns / (a + 4)) for a in (7, 11, 17)]
    exif = Image.Exif()
    exif[0x010E] = "a pane in the rain"
    image = Image.fromarray(np.uint8(127 + 100 * np.stack(waves, -1)))
    image.save(path, exif=exif, quality=95)
    return path


@pytest.fixture
def cleaner(tmp_path):
    (tmp_path / "served").mkdir()
    weights = {"lite": PRETRAINED}
    return serve.Cleaner(tmp_path / "served", weights)


def upload(cleaner, name="wet.jpg", folder="upload"):
    there = cleaner._folder / folder
    there.mkdir(exist_ok=True)
    return photograph(there / name)


def test_the_same_file_as_from_the_command_line(cleaner, tmp_path):
    source = upload(cleaner)
    shares = []
    cleaned = cleaner.clean(source, "lite", "automatic", "anna", shares.append)
    files.derain_files(derainer.load_derainer(), source, tmp_path / "dry.jpg")
    assert cleaned.result.name == "wet-dry.jpg"
    assert cleaned.result.read_bytes() == (tmp_path / "dry.jpg").read_bytes()
    for shown in (cleaned.before, cleaned.after, cleaned.attention):
        assert pictures.image_size(shown) == (93, 131)
    assert shares[-1] == 1 and shares == sorted(shares)


def test_files_go_with_their_visitor_and_no_others(cleaner):
    source = upload(cleaner)
    for visitor in ("anna", "ben"):  # the same picture: Gradio keeps it once
        cleaner.clean(source, "lite", "automatic", visitor)
    cleaner.forget("anna")
    assert source.exists()
    assert len(list(cleaner._folder.iterdir())) == 2
    cleaner.forget("ben")
    assert not list(cleaner._folder.iterdir())
    cleaner.forget("nobody")


def test_what_is_old_goes_whoever_it_belongs_to(cleaner):
    old, new = upload(cleaner), upload(cleaner, folder="new")
    for path in (old, old.parent):
        os.utime(path, (0, 0))
    cleaner.forget_old(3600)
    assert not old.parent.exists()
    assert new.exists()


def test_a_video_shows_a_frame_and_a_long_one_is_refused(cleaner):
    (cleaner._folder / "upload").mkdir()
    source = cleaner._folder / "upload" / "wet.mp4"
    made_video.make(source, made_video.moving(6, 32, 48))
    cleaned = cleaner.clean(source, "lite", "automatic", "anna")
    assert cleaned.film == cleaned.result
    assert pictures.image_size(cleaned.attention) == (32, 48)
    cleaner.limits = serve.Limits(seconds=0.1)
    with pytest.raises(UserError, match=r"^wet\.mp4 lasts 0 s; .* at most 0 s"):
        cleaner.clean(source, "lite", "automatic", "anna")


def test_other_hosts_and_roads_are_refused(cleaner):
    app = serve.application(serve.page(cleaner), serve.Limits(), ["localhost"])
    client = TestClient(app, base_url="http://localhost")
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "fonts.googleapis" not in answer.text
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    for road in ("file=http://evil.example/", "proxy=http://evil.example/"):
        assert client.get(f"/gradio_api/{road}").status_code == 404
    assert client.get("/gradio_api/file=/etc/passwd").status_code in (403, 404)


def test_a_port_in_use_is_one_line(cleaner):
    with serve.socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{port}"):
            serve.serve(port=port)


@pytest.fixture
def server(tmp_path):
    """The URL of a server whose temporary files are in `tmp_path/temporary`."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = ["main.py", "serve", "--port=0", "--max_megabytes=1"]
    process = subprocess.Popen(
        [sys.executable, ROOT / command[0], *command[1:]],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().split()[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert not list(temporary.glob("raindrop-*"))


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as runner:
        started = runner.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield started
        started.close()


def test_in_a_browser(server, browser, tmp_path):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    page.set_input_files("input[type=file]", photograph(tmp_path / "wet.jpg"))
    page.wait_for_selector("text=wet.jpg")
    page.click("text=Remove the raindrops")
    page.wait_for_selector("text=Download wet-dry.jpg")
    with page.expect_download() as download:
        page.click("text=Download wet-dry.jpg")
    download.value.save_as(tmp_path / "downloaded.jpg")
    with Image.open(tmp_path / "downloaded.jpg") as image:
        assert image.size == (131, 93)
        assert image.getexif()[0x010E] == "a pane in the rain"
    # Before, after, and where it sees drops.
    page.wait_for_function(
        "[...document.images].filter(i => i.naturalWidth == 131).length >= 3"
    )

    # A bad file gets the line of the command line.
    (tmp_path / "bad.jpg").write_bytes(b"this is no picture")
    with pytest.raises(UserError) as error:
        files.derain_files(
            derainer.load_derainer(), tmp_path / "bad.jpg", tmp_path / "x.jpg"
        )
    page.click("[aria-label='Clear'], [aria-label='Remove this file']")
    page.set_input_files("input[type=file]", tmp_path / "bad.jpg")
    page.wait_for_selector("text=bad.jpg")
    page.click("text=Remove the raindrops")
    line = str(error.value).replace(str(tmp_path / "bad.jpg"), "bad.jpg")
    page.wait_for_selector(f"text={line}")

    ours = (server, "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
