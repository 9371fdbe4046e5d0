"""A generator from whatever weight file a person has."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from raindrop.errors import UserError
from raindrop.weights import (
    SHIPPED,
    LoadedGenerator,
    derainnet,
    known,
    release,
    safetensors_file,
    torch_file,
)

KINDS = (
    "the release's gen.pkl (PyTorch), a checkpoint prefix or SavedModel folder of "
    "attentive-gan-derainnet (TensorFlow), a .safetensors file, or the name of weights "
    f"that come with raindrop ({', '.join(SHIPPED)})"
)

# How files start that are taken for weights by mistake.
_MISTAKEN = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file; `git lfs pull`"),
    (rb"\s*<(!doctype|html)", "a web page: the download asked for a confirmation"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras), and no generator is known in one"),
    (rb"\x1f\x8b|BZh|7z\xbc\xaf|Rar!", "an archive; unpack it first"),
    (rb"\x89PNG|\xff\xd8\xff", "a picture, not weights"),
)


def read_generator(path: str | Path) -> LoadedGenerator:
    """A generator made elsewhere; the kind of file is found from the file itself.

    Args:
      path: `KINDS`. Of a TensorFlow checkpoint any of its files will do.

    Raises:
      UserError: nothing there, another kind of file, other networks' weights, or
        missing, truncated or damaged files.
    """
    path = Path(path).expanduser()
    prefix = _tensorflow_prefix(path)
    if prefix is not None:
        fields, params, files = derainnet.read(prefix)
        source = f"attentive-gan-derainnet, {prefix.name}"
        return LoadedGenerator(fields, params, source, _sha256(files))
    if path.is_dir():
        raise UserError(f"{path} is a folder without weights; give {KINDS}")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give {KINDS}"
        ) from None
    if not start:
        raise UserError(f"{path} is empty")
    for pattern, words in _MISTAKEN:
        if re.match(pattern, start, re.IGNORECASE):
            raise UserError(f"{path} is {words}")
    if safetensors_file.is_safetensors(start):
        tensors, metadata = safetensors_file.read(path)
        loaded = safetensors_file.generator_of(tensors, metadata, path)
        if loaded and not loaded.sha256:
            loaded = dataclasses.replace(loaded, sha256=_sha256([path]))
        return loaded or _release(tensors, path)
    return _release(torch_file.read(path), path)


def _tensorflow_prefix(path: Path) -> Path | None:
    """The SavedModel folder or the checkpoint prefix that is meant, if one is."""
    if path.is_dir():
        if (path / "saved_model.pb").exists() or (path / "variables").is_dir():
            return path
        if path.name == "variables" and (path / "variables.index").exists():
            return path.parent
        prefixes = sorted(path.glob("*.index"))
        if len(prefixes) > 1:
            names = ", ".join(p.stem for p in prefixes)
            raise UserError(f"{path} holds several checkpoints; name one of {names}")
        return prefixes[0].with_suffix("") if prefixes else None
    if match := re.fullmatch(r"(.+)\.(index|meta|data-\d+-of-\d+)", path.name):
        return path.with_name(match[1])
    parts = (Path(f"{path}.index").exists(), any(_shards(path)))
    return path if any(parts) and not path.exists() else None


def _shards(path: Path) -> Iterable[Path]:
    return path.parent.glob(f"{path.name}.data-*-of-*") if path.name else ()


def _release(tensors: Mapping[str, np.ndarray], path: Path) -> LoadedGenerator:
    if network := known.identify(tensors):
        hint = "; they go to --config.vgg.weights" if network == "VGG-16" else ""
        raise UserError(
            f"{path}: these are {network} weights, not those of a generator{hint}"
        )
    if not set(tensors) & set(release.PLACES):
        names = ", ".join(list(tensors)[:3])
        raise UserError(
            f"{path} holds the weights of a network that is not known here ({names}, "
            f"...); give {KINDS}"
        )
    params = release.to_flax(tensors, str(path))
    source = f"DeRaindrop (PyTorch), {path.name}"
    return LoadedGenerator(release.FIELDS, params, source, _sha256([path]))


def _sha256(files: Iterable[Path]) -> str:
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.read_bytes())
    return sha.hexdigest()
