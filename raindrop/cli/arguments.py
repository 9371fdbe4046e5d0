"""What modes of the command line are made of: their flags, and the config."""

import argparse
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from raindrop.errors import UserError
from raindrop.weights import SHIPPED

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def program() -> str:
    """What was typed to get here, for messages: 'raindrop' or 'python main.py'."""
    name = Path(sys.argv[0]).name
    if name == "main.py":
        return "python main.py"
    return "python -m raindrop" if name == "__main__.py" else "raindrop"


class _Help(argparse.HelpFormatter):
    """Says the default of every flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        no_default = any(action.default is v for v in (None, False, argparse.SUPPRESS))
        if not action.option_strings or no_default or "default:" in text:
            return text
        return f"{text}; default: {action.default}"


class Parser(argparse.ArgumentParser):
    """Of one mode; errors are raised, for `main` to tell them in a line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)
        self._paths: list[str] = []
        self._switches: list[str] = []

    def format_usage(self) -> str:
        """The paths in their order, and that there are flags."""
        return f"usage: {' '.join([self.prog, *self._paths])} [--FLAG=VALUE ...]\n"

    def format_help(self) -> str:
        """What a mode takes."""
        self.usage = self.format_usage().removeprefix("usage: ").rstrip()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raises `UserError`."""
        raise UserError(message)

    def add_path(self, name: str, help: str) -> None:
        """A positional argument that can be given as `--NAME=` too; see `required`."""
        self._paths.append(name.upper())
        value: dict[str, Any] = {"metavar": name.upper(), "type": os.path.expanduser}
        self.add_argument(name, nargs="?", help=help, **value)
        same = f"the same as {name.upper()}"
        self.add_argument(f"--{name}", dest=f"{name}_flag", help=same, **value)

    def add_switch(self, name: str, help: str) -> None:
        """`--NAME`, off by default; also `--noNAME` and `--NAME=false`."""
        self._switches.append(name)
        self.add_argument(f"--{name}", action="store_true", help=help)

    def add_weights(self, default: str) -> None:
        """`--weights`; `default` says what is taken without it."""
        self.add_argument(
            "--weights",
            type=os.path.expanduser,
            help="a work directory, one of its checkpoints, a weight file (gen.pkl, a "
            "TensorFlow checkpoint or SavedModel, .safetensors), or the name of those "
            f"that come with raindrop ({', '.join(SHIPPED)}); default: {default}",
        )

    def flags(self) -> list[str]:
        """All that begin with `--`."""
        return [o for action in self._actions for o in action.option_strings]

    def parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The values, and the arguments that the mode does not know."""
        plain = [self._plain(argument) for argument in arguments]
        return self.parse_known_intermixed_args([a for a in plain if a is not None])

    def _plain(self, argument: str) -> str | None:
        """A switch in any of its forms as `--NAME`, or None if it is off."""
        match = re.fullmatch(r"--(no)?(\w+?)(?:=(\w+))?", argument)
        if not match or match[2] not in self._switches:
            return argument
        value = (match[3] or "true").lower()
        if value not in ("true", "t", "1", "yes", "y", "false", "f", "0", "no", "n"):
            self.error(f"--{match[2]} is true or false, not {match[3]}")
        on = value in ("true", "t", "1", "yes", "y")
        return f"--{match[2]}" if on != bool(match[1]) else None


@dataclasses.dataclass(frozen=True)
class Mode:
    """One thing that the command line does.

    Attributes:
      summary: a line for the list of modes.
      add_arguments: adds the arguments of the mode; positional ones `nargs="?"`, and
        looked at by `run`, so that their absence is told in the mode's own words.
      run: does it; gives the exit code, None for 0. Imports what it needs itself.
      takes_config: `--config` and `--config.GROUP.FIELD=VALUE` are of use; see
        `config_of`.
      extra: what `pip install 'raindrop[EXTRA]'` calls the packages beyond the core
        that it may need, such as TensorFlow to read the weights of TensorFlow.
    """

    summary: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int | None]
    takes_config: bool = False
    extra: str = "train"


def required(options: argparse.Namespace, *names: str) -> list[str]:
    """The values of arguments of `Parser.add_path`.

    Raises:
      UserError: one is missing, or given twice.
    """
    given = [
        [v for v in (vars(options)[name], vars(options)[f"{name}_flag"]) if v]
        for name in names
    ]
    missing = [n.upper() for n, v in zip(names, given, strict=True) if not v]
    if missing:
        usage = " ".join(name.upper() for name in names)
        raise UserError(
            f"{options.mode} needs {' and '.join(missing)}: {program()} "
            f"{options.mode} {usage}; {program()} {options.mode} --help says more"
        )
    for name, values in zip(names, given, strict=True):
        if len(values) > 1:
            raise UserError(f"{name.upper()} is given twice: {' and '.join(values)}")
    return [values[0] for values in given]


def config_of(
    options: argparse.Namespace, of_run: Mapping[str, Any] | None = None
) -> "ConfigDict":
    """What `--config` and `--config.GROUP.FIELD=VALUE` say; see `Mode.takes_config`.

    Args:
      options: of the command line.
      of_run: the config of a run, taken where there is no `--config`.

    Raises:
      UserError: no such file or field, or a value of a wrong type.
    """
    from raindrop.training import config_check, config_files

    if of_run is not None and not options.config_named:
        config = config_files.restored(of_run)
    else:
        config = config_files.load_config(options.config)
    config = config_files.override(config, options.config_fields)
    config_check.fields(config, config_files.load_config("default"))
    return config


def workdir_of(options: argparse.Namespace) -> str:
    """`--workdir`, or the folder that is named after the config."""
    if options.workdir:
        return options.workdir
    from raindrop.training import config_files

    path, choice = config_files.split(options.config)
    return os.path.join("runs", "-".join(filter(None, (path.stem, choice))))
