r"""The Raindrop data set of Qian et al. (CVPR 2018) as a TFDS builder.

`pipeline` prepares it by itself from `config.data.dir`. Without it, as any of TFDS:

    import raindrop.data.raindrop_dataset  # registers it
    builder = tfds.builder("raindrop")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=FOLDER))

or, where TFDS's own command runs (4.9.10's needs apache-beam and mlcroissant),

    PYTHONPATH=. tfds build raindrop/data/raindrop_dataset.py --manual_dir=FOLDER

The class is called `Builder` by TFDS's convention. TFDS would name such a one after its
package; with `name` set a module is enough.
"""

import io
import logging
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from raindrop.data import pairs
from raindrop.data.pairs import Pair, PairSet
from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)
PAGE = "https://github.com/rui1996/DeRaindrop"
# Pairs by split, as published; the files of test_b themselves hold more.
SPLITS = {"train": (861,), "test_a": (58,), "test_b": (239, 249)}
_FOLDERS = ("data", "gt")
_INSTRUCTIONS = (
    f"the Raindrop data set is on {PAGE}: put train.zip, test_a.zip and test_b.zip "
    "(or the folders train, test_a and test_b, extracted from them) into"
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Splits `train`, `test_a` and `test_b`, those of which the files are there.

    An example: 'rainy' and 'clean', uint8 RGB [H, W, 3] (most are 480 x 720), and
    'name', the number that the two files share.
    """

    name = "raindrop"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{_INSTRUCTIONS} this folder."

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description="Pairs of pictures with and without raindrops on the lens.",
            homepage=PAGE,
            features=tfds.features.FeaturesDict(
                {"rainy": picture, "clean": picture, "name": tfds.features.Text()}
            ),
            supervised_keys=("rainy", "clean"),
            citation=_CITATION,
            # Stored in the natural order of the names rather than that of a hash. The
            # metadata hold the names, and what they were read from, to see whether
            # that is still what is there.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(sources={}, names={}),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        sources = find_sources(Path(dl_manager.manual_dir))
        self.info.metadata["sources"] = _fingerprint(sources)
        return {
            split: self._generate_examples(split, source)
            for split, source in sources.items()
        }

    def _generate_examples(
        self, split: str, source: Path
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        read = _read_zip if source.suffix == ".zip" else _read_folder
        names = self.info.metadata["names"][split] = []
        for name, rainy, clean in read(source):
            sizes = [pairs.inspect(data, where) for where, data in (rainy, clean)]
            if sizes[0] != sizes[1]:
                raise UserError(
                    f"{rainy[0]} and {clean[0]} differ in size; crop or remove them"
                )
            names.append(name)
            yield (
                name,
                {"rainy": _decode(*rainy), "clean": _decode(*clean), "name": name},
            )
        count, published = len(names), " or ".join(map(str, SPLITS[split]))
        if count in SPLITS[split]:
            _LOG.info("raindrop/%s: %d pairs, as published", split, count)
        else:
            _LOG.warning(
                "raindrop/%s: %d pairs; published are %s", split, count, published
            )


def find_sources(folder: Path) -> dict[str, Path]:
    """The zip file or the folder of each split that is in `folder`.

    Raises:
      UserError: there is none.
    """
    sources = {}
    for split in SPLITS:
        for path in (folder / f"{split}.zip", folder / split):
            if path.exists():
                sources.setdefault(split, path)
    if not sources:
        raise UserError(f"{_INSTRUCTIONS} {folder}, and set data.dir to it")
    return sources


def prepare(folder: str | Path) -> Builder:
    """The data set of `folder`, prepared for reading by position if it is not yet.

    Written to its subfolder `prepared`, and again where the zips or folders have
    changed since. TFDS's own place, one for all folders, would not tell them apart.

    Args:
      folder: holds the zips or the extracted folders.

    Raises:
      UserError: nothing there, damaged, or no place to write.
    """
    if not str(folder):
        raise UserError(f"{_INSTRUCTIONS} a folder, and set data.dir to it")
    folder = Path(folder)
    sources = find_sources(folder)
    where = folder / "prepared"

    def builder() -> Builder:
        return Builder(data_dir=where, file_format="array_record")

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
            f"{where} cannot be written ({error.strerror or error}); put the data set "
            "where it can, links will do"
        ) from None
    return made


def open_split(folder: str | Path, split: str) -> PairSet:
    """A split, in the natural order of its names.

    Args:
      folder: see `prepare`.
      split: one of `SPLITS`.

    Raises:
      UserError: as `prepare`, or a split of which the files are not there.
    """
    if split not in SPLITS:
        raise UserError(
            f"eval.split must be one of {', '.join(SPLITS)} with the Raindrop data "
            f"set, not {split!r}"
        )
    made = prepare(folder)
    if split not in made.info.splits:
        raise UserError(f"there is no {split} in {folder}; {_INSTRUCTIONS} it")
    stored = made.as_data_source(split)

    def read(position: int) -> Pair:
        example = stored[position]
        return Pair(example["name"].decode(), example["rainy"], example["clean"])

    return PairSet(list(made.info.metadata["names"][split]), read)


def _read_folder(source: Path) -> Iterator[tuple[str, Any, Any]]:
    """(name, (where, bytes) of the rainy picture, likewise of the clean one)."""
    inside = [source, *sorted(p for p in source.iterdir() if p.is_dir())]
    for root in inside:
        if all((root / folder).is_dir() for folder in _FOLDERS):
            break
    else:
        raise UserError(f"{source} holds no folders data and gt; extract it again")
    found, alone = pairs.find(root)
    _warn(source, alone)
    for pair in found:
        yield (
            pair.name,
            (str(pair.rainy), pair.rainy.read_bytes()),
            (str(pair.clean), pair.clean.read_bytes()),
        )


def _read_zip(source: Path) -> Iterator[tuple[str, Any, Any]]:
    """As `_read_folder`; nothing is extracted."""
    try:
        with zipfile.ZipFile(source) as archive:
            sides: dict[str, list[PurePosixPath]] = {side: [] for side in _FOLDERS}
            for member in archive.namelist():
                path = PurePosixPath(member.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in member:
                    raise UserError(
                        f"{source} names a file outside itself ({member}): it is not "
                        f"the data set's; download it again from {PAGE}"
                    )
                if (
                    path.parent.name in sides
                    and path.suffix.lower() in pictures.EXTENSIONS
                    and not path.name.startswith(".")
                    and "__MACOSX" not in path.parts
                ):
                    sides[path.parent.name].append(path)
            found, alone = pairs.match(*(pairs.by_name(sides[f]) for f in _FOLDERS))
            _warn(source, alone)
            if not found:
                raise UserError(f"{source} holds no pairs in folders data and gt")
            for name, *both in found:
                rainy, clean = (
                    (f"{source}:{path}", archive.read(str(path))) for path in both
                )
                yield name, rainy, clean
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{source} is no whole zip file ({error}); download it again from {PAGE}"
        ) from None


def _warn(source: Path, alone: list[Any]) -> None:
    if alone:
        _LOG.warning(
            "%s: %d pictures without a twin: %s",
            source,
            len(alone),
            pairs.shorten(alone),
        )


def _decode(where: str, data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{where} cannot be decoded: {error}") from None


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


_CITATION = """\
@InProceedings{Qian_2018_CVPR,
  author = {Qian, Rui and Tan, Robby T. and Yang, Wenhan and Su, Jiajun and
    Liu, Jiaying},
  title = {Attentive Generative Adversarial Network for Raindrop Removal
    From a Single Image},
  booktitle = {The IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2018}
}"""
