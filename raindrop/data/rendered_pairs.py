"""Photographs in, a data set of rendered pairs out: `raindrop render`."""

import dataclasses
import logging
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from PIL import Image, ImageOps

from raindrop import progress
from raindrop.errors import UserError
from raindrop.media import atomic
from raindrop.media.pictures import find_images, read_image, side_by_side, write_image
from raindrop.rendering.camera import check_transforms
from raindrop.rendering.render import example
from raindrop.rendering.settings import Settings

_LOG = logging.getLogger(__name__)
# Compiled once per size: photographs of one camera share theirs.
_draw = jax.jit(example, static_argnums=2)
_SHEET_ROWS = 8
_SHEET_CELL = (240, 160)  # width, height


@dataclasses.dataclass
class RenderedFolder:
    """What `render_folder` made.

    Attributes:
      sheet: the contact sheet.
      pairs: how many.
      failed: a line for every photograph that could not be read.
    """

    sheet: Path
    pairs: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)


def render_folder(
    input: str | os.PathLike,
    output: str | os.PathLike,
    config: ml_collections.ConfigDict,
    seed: int = 0,
    copies: int = 1,
    skip: bool = False,
) -> RenderedFolder:
    """Puts raindrops before every photograph of a folder.

    Writes data/N_rain.png, gt/N_clean.png and mask/N_mask.png, the layout of the
    Raindrop data set, sources.txt (N and the photograph it was made from, with a tab
    between) and sheet.png, the first pairs to look at. Picture N depends on the seed,
    N and its photograph alone; a photograph that cannot be read leaves its numbers out.

    Args:
      input: folder of photographs, searched with its subfolders. Drops scale with
        each photograph's long side.
      output: folder to write; made if missing.
      config: fields of `Settings`, such as `config.data.rendering`.
      seed: of all that is drawn.
      copies: renderings of each photograph.
      skip: name and leave out a photograph that cannot be read, instead of ending with
        what is done by then.

    Raises:
      UserError: no photographs, a damaged one, or an output that cannot be written or
        holds a data set already.
    """
    if copies < 1:
        raise UserError(f"copies must be at least 1, not {copies}")
    check_transforms()
    paths = find_images(input)
    output = Path(output)
    _claim(output)
    result = RenderedFolder(output / "sheet.png")
    writer = _Writer(output, Settings(**config), seed)
    total = len(paths) * copies
    with progress.bar(total=total, unit="picture", desc="render") as done:
        try:
            for position, path in enumerate(paths):
                try:
                    photograph = read_image(path)
                except UserError as error:
                    if not skip:
                        raise UserError(_ended(error, writer, output)) from None
                    _LOG.warning("%s; left out", error)
                    result.failed.append(str(error))
                    continue
                for copy in range(copies):
                    writer.add(position * copies + copy, path, photograph)
                    done.update()
        finally:
            writer.finish(result.sheet)
    result.pairs = writer.count
    if not result.pairs:
        raise UserError(f"none of the {len(paths)} pictures in {input} can be read")
    return result


def _ended(error: UserError, writer: "_Writer", output: Path) -> str:
    done = f"; the {writer.count} pairs before it are in {output}"
    return f"{error} (data.on_error=skip leaves it out and goes on{done})"


class _Writer:
    """Renders and writes pairs one after the other."""

    def __init__(self, output: Path, settings: Settings, seed: int) -> None:
        self._output, self._settings = output, settings
        self._key = jax.random.key(seed)
        self._sources: list[str] = []
        self._sheet: list[np.ndarray] = []

    @property
    def count(self) -> int:
        """Pairs written."""
        return len(self._sources)

    def add(self, n: int, path: Path, photograph: np.ndarray) -> None:
        """Writes pair `n`, of a photograph, uint8 RGB [H, W, 3]."""
        framed = dataclasses.replace(self._settings, frame=max(photograph.shape[:2]))
        scene = jnp.asarray(photograph, jnp.float32) / 255
        drawn = _draw(jax.random.fold_in(self._key, n), scene, framed)
        rainy, clean, mask = (np.asarray(x) for x in drawn)
        trio = [rainy, clean, np.repeat(mask, 3, axis=-1)]
        for folder, image in zip(_FOLDERS, trio, strict=True):
            write_image(self._output / folder / f"{n}_{_FOLDERS[folder]}.png", image)
        if len(self._sheet) < _SHEET_ROWS:
            self._sheet.append(side_by_side(thumbnail(image) for image in trio))
        self._sources.append(f"{n}\t{path}\n")

    def finish(self, sheet: Path) -> None:
        """Writes what the pairs were made from, and the contact sheet."""
        if not self._sources:
            return
        with atomic.replacing(self._output / "sources.txt") as part:
            # The bytes of the names, which need not be UTF-8.
            text = "".join(self._sources)
            part.write_bytes(text.encode("utf-8", "surrogateescape"))
        write_image(sheet, np.concatenate(self._sheet))


_FOLDERS = {"data": "rain", "gt": "clean", "mask": "mask"}


def _claim(output: Path) -> None:
    """Makes the folders, and sees that nothing of another data set is in them."""
    try:
        for folder in _FOLDERS:
            (output / folder).mkdir(parents=True, exist_ok=True)
            if any((output / folder).iterdir()):
                raise UserError(
                    f"{output / folder} is not empty; give a new --output folder"
                )
        if not os.access(output, os.W_OK):
            raise PermissionError(13, "Permission denied", str(output))
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}); give another --output"
        ) from None


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture cut and shrunk to a cell of the contact sheet, uint8."""
    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.asarray(ImageOps.fit(Image.fromarray(image), _SHEET_CELL))
