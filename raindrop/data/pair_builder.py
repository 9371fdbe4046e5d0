"""What the TFDS builders of published sets of pairs share.

A set is prepared once, from its zip files or from the folders extracted from them, into
a file that is read by position. Nothing is extracted, nothing is fetched.
"""

import contextlib
import io
import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from raindrop.data import name_matching, pairs, scenes
from raindrop.data.pairs import Pair, PairSet
from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)


class SplitFiles(NamedTuple):
    """A split as published: the stem of its zip file or folder, and how many pairs."""

    stem: str
    counts: tuple[int, ...]


class PairBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A set of pairs in two folders, one zip file or folder for each split.

    An example: 'rainy' and 'clean', uint8 RGB [H, W, 3], and 'name'. Splits are those
    of which the files are there.

    Attributes:
      page: where the set is described.
      title: of the set, in messages.
      splits: by name.
      folders: names of the rainy and of the clean folder in each.
      citation: BibTeX.
      skip: name and leave out damaged pairs instead of raising.
    """

    page: ClassVar[str]
    title: ClassVar[str]
    splits: ClassVar[Mapping[str, SplitFiles]]
    folders: ClassVar[tuple[str, str]]
    citation: ClassVar[str]
    skip: bool = False

    @classmethod
    def instructions(cls) -> str:
        """Where the set is and what to do with it, up to the folder to put it into."""
        stems = [files.stem for files in cls.splits.values()]
        zips = ", ".join(f"{stem}.zip" for stem in stems)
        return (
            f"{cls.title} is on {cls.page}: put {zips} (or the folders extracted from "
            "them) into"
        )

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description="Pairs of pictures with and without raindrops on the lens.",
            homepage=self.page,
            features=tfds.features.FeaturesDict(
                {"rainy": picture, "clean": picture, "name": tfds.features.Text()}
            ),
            supervised_keys=("rainy", "clean"),
            citation=self.citation,
            # Stored in the natural order of the names rather than that of a hash. The
            # metadata hold the names and scenes, and what they were read from, to see
            # whether that is still what is there.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(
                sources={}, names={}, scenes={}, thumbnails={}, left_out={}
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        sources = self.find_sources(Path(dl_manager.manual_dir))
        self.info.metadata["sources"] = _fingerprint(sources)
        return {
            split: self._generate_examples(split, source)
            for split, source in sources.items()
        }

    def _generate_examples(
        self, split: str, source: Path
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        metadata = self.info.metadata
        for kind in ("names", "scenes", "thumbnails", "left_out"):
            metadata[kind][split] = []
        for stored in _read(source, self.folders, self.page):
            try:
                rainy, clean = stored.decode()
            except UserError as error:
                if not self.skip:
                    raise
                metadata["left_out"][split].append(str(error))
                continue
            metadata["names"][split].append(stored.name)
            metadata["scenes"][split].append(stored.scene)
            if not stored.scene:
                small = scenes.thumbnail(clean).tobytes().hex()
                metadata["thumbnails"][split].append(small)
            example = {"rainy": rainy, "clean": clean, "name": stored.name}
            yield stored.name, example
        count, published = len(metadata["names"][split]), self.splits[split].counts
        if count in published:
            _LOG.info("%s/%s: %d pairs, as published", self.name, split, count)
        else:
            _LOG.warning(
                "%s/%s: %d pairs; published are %s",
                *(self.name, split, count, " or ".join(map(str, published))),
            )

    @classmethod
    def find_sources(cls, folder: Path) -> dict[str, Path]:
        """The zip file or the folder of each split that is in `folder`.

        Raises:
          UserError: there is none.
        """
        sources: dict[str, Path] = {}
        for split, files in cls.splits.items():
            for path in (folder / f"{files.stem}.zip", folder / files.stem):
                if path.exists():
                    sources.setdefault(split, path)
        if not sources:
            raise UserError(f"{cls.instructions()} {folder}, and set data.dir to it")
        return sources

    @classmethod
    def prepare(cls, folder: str | Path, skip: bool = False) -> "PairBuilder":
        """The set of `folder`, prepared for reading by position if it is not yet.

        Written to its subfolder `prepared`, and again where the zips or folders have
        changed since. TFDS's own place, one for all folders, would not tell them apart.

        Args:
          folder: holds the zips or the extracted folders.
          skip: see the class.

        Raises:
          UserError: nothing there, damaged, or no place to write.
        """
        if not str(folder):
            raise UserError(f"{cls.instructions()} a folder, and set data.dir to it")
        folder = Path(folder)
        sources = cls.find_sources(folder)
        where = folder / "prepared"

        def builder() -> PairBuilder:
            made = cls(data_dir=where, file_format="array_record")
            made.skip = skip
            return made

        made = builder()
        if made.is_prepared():
            if _plain(made.info.metadata.get("sources")) == _fingerprint(sources):
                return made
            _LOG.info("%s has changed: preparing it again", folder)
            shutil.rmtree(made.data_path)
            made = builder()
        _LOG.info("preparing %s (%s) in %s", folder, ", ".join(sources), where)
        try:
            made.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=folder)
            )
        except OSError as error:
            raise UserError(
                f"{where} cannot be written ({error.strerror or error}); put the data "
                "set where it can, links will do"
            ) from None
        return made

    @classmethod
    def open_split(
        cls,
        folder: str | Path,
        split: str,
        skip: bool = False,
        same_scene: float = float("inf"),
    ) -> PairSet:
        """A split, in the natural order of its names.

        Args:
          folder: see `prepare`.
          split: one of `splits`.
          skip: see the class.
          same_scene: correlation from which on two ground truths show the same scene,
            where the set has no folders of scenes.

        Raises:
          UserError: as `prepare`, or a split of which the files are not there.
        """
        if split not in cls.splits:
            raise UserError(
                f"eval.split must be one of {', '.join(cls.splits)} with {cls.title}, "
                f"not {split!r}"
            )
        made = cls.prepare(folder, skip)
        if split not in made.info.splits:
            raise UserError(f"there is no {split} in {folder}; {cls.instructions()} it")
        metadata = {
            kind: list(made.info.metadata[kind][split])
            for kind in ("names", "scenes", "thumbnails", "left_out")
        }
        for line in metadata["left_out"]:
            if not skip:
                raise UserError(f"{line} (data.on_error=skip leaves it out)")
            _LOG.warning("%s; left out", line)
        stored = made.as_data_source(split)

        def read(position: int) -> Pair:
            example = stored[position]
            return Pair(example["name"].decode(), example["rainy"], example["clean"])

        def labels() -> list[Any]:
            if not metadata["thumbnails"]:
                return metadata["scenes"]
            data = bytes.fromhex("".join(metadata["thumbnails"]))
            small = np.frombuffer(data, np.uint8).reshape(-1, *scenes.SHAPE)
            return scenes.group(small, same_scene)

        return PairSet(
            metadata["names"], read, scenes=labels, failed=metadata["left_out"]
        )


class _Stored(NamedTuple):
    """A pair as stored: its two pictures are (where, bytes)."""

    name: str
    scene: str
    rainy: tuple[str, bytes]
    clean: tuple[str, bytes]

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """Both pictures, uint8 RGB [H, W, 3].

        Raises:
          UserError: one that cannot be used.
        """
        both = (self.rainy, self.clean)
        sizes = [pairs.inspect(data, where) for where, data in both]
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{self.rainy[0]} and {self.clean[0]} differ in size; crop or remove "
                "them"
            )
        rainy, clean = (_decode(*picture) for picture in both)
        return rainy, clean


def _decode(where: str, data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{where} cannot be decoded: {error}") from None


def _read(source: Path, folders: tuple[str, str], page: str) -> Iterator[_Stored]:
    """The pairs of a zip file or a folder, in natural order.

    Raises:
      UserError: no pairs, or a damaged zip file.
    """
    opened = _zip(source, page) if source.suffix == ".zip" else _folder(source)
    with opened as (paths, read):
        sides: list[list[PurePosixPath]] = []
        roots: list[PurePosixPath] = []
        for folder in folders:
            inside = [path for path in paths if folder in path.parts[:-1]]
            root = {_up_to(path, folder) for path in inside}
            if len(root) != 1:
                what = "no folder" if not root else "several folders"
                raise UserError(
                    f"{source} holds {what} {folder}; the set has {folders[0]} and "
                    f"{folders[1]}: extract or download it again from {page}"
                )
            sides.append(inside)
            roots.append(*root)
        matched, alone = name_matching.match(sides[0], sides[1], roots[0], roots[1])
        used = {clean for _, _, clean in matched}
        alone += [path for path in sides[1] if path not in used]
        if alone:
            _LOG.warning(
                "%s: %d pictures without a counterpart: %s",
                *(source, len(alone), pairs.shorten(alone)),
            )
        if not matched:
            raise UserError(
                f"{source} holds no pairs in folders {' and '.join(folders)}"
            )
        for name, *both in matched:
            scene = both[1].parent.relative_to(roots[1]).as_posix()
            data = ((f"{source}:{path}", read(path)) for path in both)
            yield _Stored(name, "" if scene == "." else scene, *data)


def _up_to(path: PurePosixPath, folder: str) -> PurePosixPath:
    return PurePosixPath(*path.parts[: path.parts.index(folder) + 1])


# The pictures in a zip file or a folder, and what gives the bytes of one.
_Opened = tuple[list[PurePosixPath], Callable[[PurePosixPath], bytes]]


@contextlib.contextmanager
def _folder(source: Path) -> Iterator[_Opened]:
    paths = pictures.find_images(source)
    inside = [PurePosixPath(path.relative_to(source).as_posix()) for path in paths]
    yield inside, lambda path: (source / path).read_bytes()


@contextlib.contextmanager
def _zip(source: Path, page: str) -> Iterator[_Opened]:
    try:
        with zipfile.ZipFile(source) as archive:
            members: dict[PurePosixPath, str] = {}
            for member in archive.namelist():
                path = PurePosixPath(member.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in member:
                    raise UserError(
                        f"{source} names a file outside itself ({member}): it is not "
                        f"the data set's; download it again from {page}"
                    )
                if (
                    path.suffix.lower() in pictures.EXTENSIONS
                    and not path.name.startswith(".")
                    and "__MACOSX" not in path.parts
                ):
                    members[path] = member
            yield list(members), lambda path: archive.read(members[path])
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{source} is no whole zip file ({error}); download it again from {page}"
        ) from None


def _fingerprint(sources: Mapping[str, Path]) -> dict[str, list[int]]:
    """Files and bytes of every source."""
    prints = {}
    for split, source in sources.items():
        files = source.rglob("*") if source.is_dir() else [source]
        sizes = [path.stat().st_size for path in files if path.is_file()]
        prints[split] = [len(sizes), sum(sizes)]
    return prints


def _plain(sources: Any) -> Any:
    """Metadata as it went in: TFDS gives back tuples or lists by version."""
    return {k: list(v) for k, v in sources.items()} if sources else None
