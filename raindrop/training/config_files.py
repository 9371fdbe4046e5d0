"""Config files: those that come with raindrop, by name, and a person's own, by path."""

import contextlib
import difflib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from raindrop.errors import UserError

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Where the configs are: in the installed package, or `configs/` of a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Names of the configs that come with raindrop."""
    parts = ("__init__", "rendering")  # groups of fields, no configs
    return sorted(p.stem for p in folder().glob("*.py") if p.stem not in parts)


def load_config(name: str | Path) -> ConfigDict:
    """A configuration, to be changed and given to `train_and_evaluate`.

    In a config file `from configs import default` is the `default.py` that comes with
    raindrop, wherever the file lies and however raindrop was installed; modules beside
    the file are found in `configs` too.

    Args:
      name: of a config that comes with raindrop, such as 'quickstart', or the path of a
        Python file with a `get_config`; 'FILE.py:TEXT' calls `get_config(TEXT)`.

    Returns:
      The config; locked, so that a field that does not exist cannot be set.

    Raises:
      UserError: there is no such file, or it has no `get_config`.
    """
    path, choice = split(name)
    spec = importlib.util.spec_from_file_location("raindrop_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with _as_configs(folder(), path.parent):
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"{path} has no get_config()")
        arguments = [choice] if choice else []
        try:
            inspect.signature(module.get_config).bind(*arguments)
        except TypeError:
            what = (
                "takes no text after a colon" if choice else "needs one: FILE.py:TEXT"
            )
            raise UserError(f"{path} {what}") from None
        try:
            config = module.get_config(*arguments)
        except ValueError as error:
            if not choice:
                raise
            raise UserError(f"{path}: {error}") from None
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config() must return a ConfigDict")
    return config.lock()


def split(name: str | Path) -> tuple[Path, str]:
    """The file that `load_config` reads, and the text for its `get_config`, or ''.

    Raises:
      UserError: there is no such file.
    """
    text, _, choice = str(name).partition(":")
    path = Path(text).expanduser()
    if path.is_file():
        return path, choice
    shipped = folder() / f"{text}.py"
    if re.fullmatch(r"\w+", text) and text in names():
        return shipped, choice
    raise UserError(
        f"there is no config file {text}; by name there are {', '.join(names())}"
    )


@contextlib.contextmanager
def _as_configs(*folders: Path) -> Iterator[None]:
    """Lets `configs` be a package of the modules in `folders`, the first ones first.

    An installed raindrop has none on Python's path, where it would be in the way of the
    `configs` of others.
    """

    def loaded() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == "configs"]

    before = {name: sys.modules.pop(name) for name in loaded()}
    package = types.ModuleType("configs")
    package.__path__ = [str(folder.resolve()) for folder in folders]
    sys.modules["configs"] = package
    try:
        yield
    finally:
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(before)


def restored(saved: Mapping[str, Any]) -> ConfigDict:
    """The config of a run as it was saved, on top of `default.py`.

    Args:
      saved: as JSON gives it.
    """
    config = load_config("default")
    with config.unlocked(), config.ignore_type():
        _put(config, saved)
    return config


def _put(group: ConfigDict, saved: Mapping[str, Any]) -> None:
    for name, value in saved.items():
        if isinstance(value, Mapping):
            if name not in group:
                group[name] = ConfigDict()
            _put(group[name], value)
        else:
            group[name] = _tuples(value)  # which JSON has not, and configs are made of


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def override(config: ConfigDict, flags_given: Sequence[str]) -> ConfigDict:
    """The config with fields set as on the command line.

    Args:
      config: to set them in; it is changed.
      flags_given: such as '--config.training.seed=3'.

    Raises:
      UserError: a field that does not exist, or a value that does not fit it.
    """
    for flag in flags_given:
        _require_field(config, flag.partition("=")[0].partition(".")[2])
    parsed = flags.FlagValues()
    arguments = ["raindrop", *flags_given]
    try:
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=parsed, sys_argv=arguments
        )
        parsed(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from None
    return config


def _require_field(config: ConfigDict, path: str) -> None:
    group: Any = config
    for name in path.split("."):
        name = name.partition("[")[0]  # of an element
        if name not in _fields(group):
            raise UserError(no_field(path, name, _fields(group)))
        group = group[name]


def no_field(path: str, name: str, known: Iterable[str]) -> str:
    """The message on a field that does not exist, whichever way it came.

    Args:
      path: with its groups, such as 'training.num_stepz'.
      name: the part of it that does not exist.
      known: what there is in its place.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"config.{path} does not exist; {hint}"


def _fields(group: Any) -> list[str]:
    return list(group) if isinstance(group, ConfigDict) else []
