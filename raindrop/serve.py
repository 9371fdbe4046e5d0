"""A page in the browser: drop a picture or a short video, get it without raindrops.

All work is done on this machine. Nothing is sent elsewhere, by the server or by the
page: Gradio's analytics and its history of runs are off, and a policy in every answer
forbids the browser any other host. What is uploaded and made lies in one temporary
folder; a visitor's files are removed when the page is closed or an hour old, and the
folder when the server ends.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Gradio reads it when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import fastapi
import gradio as gr
import uvicorn
from PIL import Image
from starlette.middleware.trustedhost import TrustedHostMiddleware

from raindrop.errors import UserError
from raindrop.export import engines
from raindrop.media import containers, pictures, pixel_values, video
from raindrop.restoration import files, jobs
from raindrop.restoration.derainer import Derainer
from raindrop.weights import SHIPPED

_PREVIEW = 1600  # pixels of the longer side, of what the page shows
_KEPT_SECONDS = 3600  # that files of a page that stays open are kept
_WAITING = 20  # visitors at most
# Side of the tiles, by the words for it.
TILES: dict[str, int | None] = {"automatic": None, "no": 0} | {
    str(side): side for side in (256, 512, 768, 1152)
}
# The page needs inline styles and scripts of its own, and no other host.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)
_INTRODUCTION = """# raindrop
Drop a picture or a short video behind raindrops, and get it without. All of it is done
on the machine that runs this page; nothing leaves it, and nothing is kept."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
      megabytes: of a file.
      megapixels: of a picture.
      seconds: of a video.
    """

    megabytes: float = 200.0
    megapixels: float = 64.0
    seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """What the page shows.

    Attributes:
      result: the file to download, full size, with the metadata of the upload.
      before: a picture for the page, no larger than it needs; of a video one frame.
      after: the same without raindrops.
      attention: the last map over it; None without maps.
      notes: what the command line would have warned of.
    """

    result: Path
    before: Path
    after: Path
    attention: Path | None
    notes: list[str]

    @property
    def film(self) -> Path | None:
        """The result, if it is a video."""
        return self.result if jobs.is_video(self.result) else None


class Cleaner:
    """What the page does, without the page.

    Args:
      folder: for everything that is written.
      weights: what can be chosen, by name.
      engine: name and precision of the engine.
      limits: what is refused.
    """

    def __init__(
        self,
        folder: Path,
        weights: dict[str, str | Path],
        engine: tuple[str, str] = ("jax", "float32"),
        limits: Limits | None = None,
    ) -> None:
        self.weights, self.limits = weights, limits or Limits()
        self._folder, self._engine = folder, engine
        self._visits: dict[str, set[Path]] = {}
        self._in_use: tuple[Path, ...] = ()
        self.derainer = functools.lru_cache(maxsize=4)(self._load)

    def _load(self, name: str, tile: str) -> Derainer:
        return engines.load(self.weights[name], TILES[tile], *self._engine)

    def clean(
        self,
        upload: Path,
        name: str,
        tile: str,
        visitor: str,
        on_progress: Callable[[float], object] = lambda share: None,
    ) -> Cleaned:
        """Removes the raindrops from a file.

        Args:
          upload: the file.
          name: of the weights.
          tile: one of `TILES`.
          visitor: whose file it is; see `forget`.
          on_progress: called with the share that is done.

        Raises:
          UserError: what the command line would say of the file, or a limit.
        """
        folder = self._folder / uuid.uuid4().hex
        self._in_use = (upload.parent, folder)
        self.remember(visitor, *self._in_use)
        options = jobs.Options(attention=True)
        try:
            self._check(upload)
            derainer = self.derainer(name, tile)
            (job,) = jobs.find(upload, folder).jobs.values()
            with _warnings() as notes:
                summary = files.derain_files(
                    derainer, upload, folder, options, on_progress
                )
            made = job.targets(options, derainer.steps)
            result = made["result"]
            named = result.with_name(f"{upload.stem}-dry{result.suffix}")
            overlay = made.get("overlay") or made.get("attention")
            return Cleaned(
                result=result.rename(named),
                before=_shown(upload, folder / "before.png"),
                after=_shown(named, folder / "after.png"),
                attention=overlay and _shown(overlay, folder / "attention.png"),
                notes=[
                    note.replace(str(upload), upload.name)
                    for note in notes
                    + [what for _, what in summary.damaged + summary.notes]
                ],
            )
        except UserError as error:
            # Where the file lies here is no concern of the visitor.
            line = str(error).replace(str(upload), upload.name)
            raise UserError(line) from None
        finally:
            self._in_use = ()

    def _check(self, upload: Path) -> None:
        """Refuses a video that is too long; all else is found on the way."""
        if not jobs.is_video(upload):
            return
        info = video.probe(upload)
        seconds = info.frames / float(info.rate)
        if not info.frames:
            with containers.open_(upload) as container:
                seconds = (container.duration or 0) / 1e6
        if not 0 < seconds <= self.limits.seconds:
            length = (
                f"lasts {seconds:.0f} s" if seconds else "does not say how long it is"
            )
            raise UserError(
                f"{upload} {length}; this page takes videos of at most "
                f"{self.limits.seconds:.0f} s, and `raindrop derain` all"
            )

    def remember(self, visitor: str, *folders: Path) -> None:
        """Notes folders that are to go when the visitor does."""
        self._visits.setdefault(visitor, set()).update(folders)

    def forget(self, visitor: str) -> None:
        """Removes all files of a visitor but those that another one has too."""
        gone = self._visits.pop(visitor, set())
        for folder in gone.difference(*self._visits.values()):
            shutil.rmtree(folder, ignore_errors=True)

    def forget_old(self, seconds: float) -> None:
        """Removes what nobody touched for so long, whoever it belongs to."""
        for folder in set(self._folder.iterdir()) - set(self._in_use):
            with contextlib.suppress(OSError):  # gone meanwhile
                touched = max(
                    path.stat().st_mtime for path in (folder, *folder.rglob("*"))
                )
                if time.time() - touched < seconds:
                    continue
                if folder.is_dir():
                    shutil.rmtree(folder)
                else:
                    folder.unlink()


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """What raindrop warns of meanwhile; one visitor's work at a time."""
    notes: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: notes.append(record.getMessage())
    logger = logging.getLogger("raindrop")
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


def _shown(path: Path, target: Path) -> Path:
    """Writes a picture, or the middle frame of a video, small enough for the page."""
    if jobs.is_video(path):
        info = video.probe(path)
        reader = video.FrameReader(path, info)
        frame = next(reader.frames(info.frames // 2), None)
        # The header may promise more frames than there are.
        _, pixels = frame or next(reader.frames())
        pixels = pixel_values.to_uint8(pixels)
    else:
        pixels = pictures.read_image(path)
    image = Image.fromarray(pixels)
    image.thumbnail((_PREVIEW, _PREVIEW), Image.Resampling.LANCZOS)
    image.save(target)
    return target


def page(cleaner: Cleaner) -> gr.Blocks:
    """The page of a cleaner."""

    def run(
        upload: str | None,
        name: str,
        tile: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio wants it so)
    ) -> list[Any]:
        if upload is None:
            raise _told("drop a picture or a video first")
        progress(0, desc="Loading the network")
        try:
            cleaned = cleaner.clean(
                Path(upload),
                name,
                tile,
                request.session_hash,
                lambda share: progress(share, desc="Removing raindrops"),
            )
        except UserError as error:
            raise _told(str(error)) from None
        label = f"Download {cleaned.result.name}"
        return [
            (cleaned.before, cleaned.after),
            gr.Image(cleaned.attention, visible=cleaned.attention is not None),
            gr.Video(cleaned.film, visible=cleaned.film is not None),
            gr.DownloadButton(label, value=cleaned.result, visible=True),
            gr.Markdown("\n\n".join(cleaned.notes), visible=bool(cleaned.notes)),
        ]

    def uploaded(upload: str | None, request: gr.Request) -> None:
        if upload is not None:
            cleaner.remember(request.session_hash, Path(upload).parent)

    def left(request: gr.Request) -> None:
        cleaner.forget(request.session_hash)

    kept = (600, _KEPT_SECONDS)
    with gr.Blocks(
        title="raindrop", analytics_enabled=False, delete_cache=kept
    ) as made:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                upload = gr.File(label="Picture or video", height=160)
                with gr.Row():
                    name = gr.Dropdown(list(cleaner.weights), label="Weights")
                    tile = gr.Dropdown(list(TILES), label="Tiles")
                start = gr.Button("Remove the raindrops", variant="primary")
                download = gr.DownloadButton("Download", visible=False)
                notes = gr.Markdown(visible=False)
            with gr.Column(scale=2):
                slider = gr.ImageSlider(
                    label="Before | after", interactive=False, buttons=["fullscreen"]
                )
                attention = gr.Image(
                    label="Where it sees drops",
                    interactive=False,
                    buttons=["fullscreen"],
                )
                film = gr.Video(label="Without raindrops", visible=False, buttons=[])
        upload.upload(uploaded, upload, show_progress="hidden", queue=False)
        start.click(
            run,
            [upload, name, tile],
            [slider, attention, film, download, notes],
            concurrency_limit=1,
        )
        made.unload(left)
    return made.queue(max_size=_WAITING)


def _told(line: str) -> gr.Error:
    """The one line, on the page."""
    return gr.Error(line, title="raindrop", duration=None, print_exception=False)


def application(blocks: gr.Blocks, limits: Limits, hosts: list[str]) -> fastapi.FastAPI:
    """The page as a web application.

    Args:
      blocks: the page.
      limits: what is refused.
      hosts: names that the page may be asked for by; another website that has its name
        point here is refused.
    """
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.middleware("http")
    async def keep_to_this_machine(request: fastapi.Request, call_next: Any) -> Any:
        # Gradio would fetch what other servers have, if it is asked to.
        if any(road in request.url.path for road in ("/file=http", "/proxy=")):
            return fastapi.Response(status_code=404)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    plain = ["system-ui", "sans-serif"]  # fonts of the visitor's machine
    return gr.mount_gradio_app(
        app,
        blocks,
        path="",
        footer_links=[],
        run_history=False,
        max_file_size=int(limits.megabytes * 1e6),
        enable_monitoring=False,
        ssr_mode=False,
        theme=gr.themes.Default(font=plain, font_mono=["monospace"]),
    )


def _sweep(cleaner: Cleaner) -> None:
    while True:
        time.sleep(_KEPT_SECONDS / 6)
        cleaner.forget_old(_KEPT_SECONDS)


def serve(
    weights: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    engine: tuple[str, str] = ("jax", "float32"),
    limits: Limits | None = None,
) -> None:
    """Serves the page until it is interrupted.

    Args:
      weights: offered beside those that come with raindrop, and chosen at first.
      host: the address to listen at; 0.0.0.0 for all of this machine.
      port: 0 for any that is free.
      engine: name and precision of the engine.
      limits: what is refused.

    Raises:
      UserError: an address that cannot be had, or weights that cannot be read.
      KeyboardInterrupt: interrupted.
    """
    limits = limits or Limits()
    offered = {} if weights is None else {str(weights): weights}
    offered |= SHIPPED
    pictures.limit_megapixels(limits.megapixels)
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port}: {error.strerror}; give others by --host "
            "and --port"
        ) from None
    local = host in ("127.0.0.1", "localhost", "::1")
    # The end of the process by SIGTERM, too, removes the folder.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        listening,
        tempfile.TemporaryDirectory(
            prefix="raindrop-", ignore_cleanup_errors=True
        ) as folder,
    ):
        os.environ["GRADIO_TEMP_DIR"] = folder
        cleaner = Cleaner(Path(folder), offered, engine, limits)
        cleaner.derainer(next(iter(offered)), next(iter(TILES)))
        threading.Thread(target=_sweep, args=[cleaner], daemon=True).start()
        app = application(
            page(cleaner), limits, ["127.0.0.1", "localhost"] if local else ["*"]
        )
        print(
            f"http://{host}:{listening.getsockname()[1]} (Ctrl-C ends it)", flush=True
        )
        if not local:
            print("whoever can reach this address can use the page", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, access_log=False
        )
        uvicorn.Server(config).run([listening])
