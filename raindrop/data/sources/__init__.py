"""Where pictures come from: one module for each kind of source, found by itself.

A module in this folder with a subclass of `source.Source` that has a `name` is a
source: `data.name`, `data.mixture` and `eval.name` take that name.
"""

import importlib
import pkgutil
from typing import Any

from raindrop.data.picture_cache import PictureCache
from raindrop.data.sources.source import Source
from raindrop.errors import UserError


def found() -> dict[str, type[Source]]:
    """The sources of this folder by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(Source.kinds.items()))


KINDS = found()


def of(config: Any, name: str, field: str = "data.name") -> Source:
    """The source that goes by `name`, as `config` describes it.

    Args:
      config: the whole config.
      name: of the source.
      field: of the config that the name comes from, for the message.

    Raises:
      UserError: there is none of that name.
    """
    if name not in KINDS:
        raise UserError(f"{field} must be one of {', '.join(KINDS)}, not {name!r}")
    return KINDS[name](config)


def weights(data: Any) -> dict[str, float]:
    """Share of each source in a run: `data.mixture`, or all of `data.name`.

    Raises:
      UserError: an unknown source, or a weight below zero.
    """
    mixture = {name: float(w) for name, w in data.mixture.items() if w}
    if not mixture:
        mixture = {data.name: 1.0}
    for name, weight in mixture.items():
        if name not in KINDS:
            raise UserError(
                f"data.name must be one of {', '.join(KINDS)}, not {name!r}"
            )
        if weight < 0:
            raise UserError(f"data.mixture.{name} is {weight}; weights are above zero")
    total = sum(mixture.values())
    return {name: weight / total for name, weight in mixture.items()}


def training(config: Any, name: str, cache_bytes: int) -> PictureCache:
    """The pictures of a source to train on: all but those held out.

    Args:
      config: the whole config.
      name: of the source.
      cache_bytes: see `PictureCache`.

    Raises:
      UserError: data that is not there or not usable, or smaller than the crop.
    """
    source = of(config, name)
    names, decode = source.training()
    return PictureCache(names, decode, source.rendered, cache_bytes, source.skip)
