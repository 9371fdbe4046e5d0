"""The command line: `raindrop MODE ...`, or `python main.py MODE ...` in a checkout.

The modes are in `modes.py`.
"""

import argparse
import difflib
import errno
import gc
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence

from absl import logging as absl_logging

import raindrop
from raindrop.cli.arguments import Parser, program
from raindrop.cli.modes import MODES
from raindrop.errors import UserError

_DESCRIPTION = "Removes raindrops from pictures and video, and trains the network."
_CONFIG = re.compile(r"--?(no)?config(\.|=|$)")


def usage() -> str:
    """The list of modes."""
    width = max(map(len, MODES))
    lines = [
        f"usage: {program()} MODE [arguments]",
        "",
        _DESCRIPTION,
        "",
        "modes:",
        *(f"  {name:{width}}  {mode.summary}" for name, mode in MODES.items()),
        "",
        f"{program()} MODE --help says what a mode takes. With --config=NAME and no",
        "mode it trains. For a start:",
        "",
        f"  {program()} derain wet.jpg dry.png",
        f"  {program()} train --config=quickstart",
    ]
    return "\n".join(lines)


def _parser(name: str) -> Parser:
    mode = MODES[name]
    parser = Parser(
        prog=f"{program()} {name}",
        description=mode.summary[0].upper() + mode.summary[1:] + ".",
    )
    mode.add_arguments(parser)
    if mode.takes_config:
        from raindrop.training import config_files

        group = parser.add_argument_group("configuration")
        group.add_argument(
            "--config",
            # A training is not to start by accident.
            default=None if name == "train" else "default",
            help="a Python file, or the name of a configuration that comes with "
            f"raindrop: {', '.join(config_files.names())}",
        )
        group.add_argument(
            "--config.GROUP.FIELD",
            dest="config_fields",
            metavar="VALUE",
            help="sets a field of it, and can be given often; "
            f"{config_files.folder() / 'default.py'} has all fields and their defaults",
        )
    return parser


def _mode(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The mode that is asked for, if one is, and the arguments for it.

    Raises:
      UserError: there is no such mode, or there are two.
    """
    words, rest = [], list(argv)
    if rest and not rest[0].startswith("-"):
        words.append(rest.pop(0))
    for i, argument in enumerate(rest):
        if argument.startswith("--mode="):
            words.append(rest.pop(i).partition("=")[2])
            break
        if argument == "--mode" and i + 1 < len(rest):
            words.append(rest.pop(i + 1))
            rest.pop(i)
            break
    for word in words:
        if word not in MODES:
            near = difflib.get_close_matches(word, MODES, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {_list(MODES)}"
            if not near and ("." in word or os.path.exists(word)):
                hint = f"to clean it: {program()} derain {word} OUTPUT"
            raise UserError(f"there is no mode {word!r}; {hint}")
    if len(set(words)) > 1:
        raise UserError(f"one mode at a time, not {' and '.join(words)}")
    if not words and any(map(_CONFIG.match, rest)):
        words = ["train"]
    return (words[0] if words else None), rest


def _without_config(
    arguments: Sequence[str],
) -> tuple[str | None, list[str], list[str]]:
    """Parts the config's flags from the others, in any order.

    Returns:
      The value of --config, those of its fields as `config_files.override` takes
      them, and the other arguments.
    """
    name, fields, others = None, [], []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not _CONFIG.match(argument):
            others.append(argument)
            continue
        if "=" not in argument and waiting and not waiting[0].startswith("--"):
            argument += "=" + waiting.pop(0)
        flag, equals, value = argument.partition("=")
        if flag.lstrip("-") == "config":
            name = value
        else:
            fields.append(f"{flag}={os.path.expanduser(value)}" if equals else flag)
    return name, fields, others


def _parse(name: str, arguments: Sequence[str]) -> argparse.Namespace:
    """The values for a mode.

    Raises:
      UserError: an argument that the mode does not use, or a value that does not fit.
    """
    parser = _parser(name)
    config, fields, arguments = _without_config(arguments)
    given = config is not None or bool(fields)
    if given and not MODES[name].takes_config:
        raise UserError(_unused(name, "--config"))
    options, unknown = parser.parse(arguments)
    if unknown:
        flag = next((u for u in unknown if u.startswith("-")), None)
        if flag is None:
            raise UserError(
                f"{name} does not know what to do with {' '.join(unknown)}; quote a "
                "glob, as in 'photos/*.jpg'"
            )
        raise UserError(_unused(name, flag.partition("=")[0]))
    options.mode, options.config_given = name, given
    options.config_named = config is not None
    options.config, options.config_fields = config or "default", fields
    return options


def _unused(name: str | None, flag: str) -> str:
    """Why a flag cannot be given to a mode."""
    known = {mode: _parser(mode).flags() for mode in MODES}
    using = [mode for mode in MODES if flag in known[mode]]
    if name is None:
        hint = f"such as {using[0]}" if using else f"one of {_list(MODES)}"
        return f"{flag} needs a mode before it, {hint}; {program()} --help says more"
    if (name, flag) == ("train", "--weights"):
        return (
            "train does not use --weights; to start from weights give "
            "--config.training.weights=WEIGHTS"
        )
    if using:
        verb = "do" if len(using) > 1 else "does"
        return f"{name} does not use {flag}; {_list(using)} {verb}"
    near = difflib.get_close_matches(flag, known[name], 1)
    hint = f"did you mean {near[0]}?" if near else f"see {program()} {name} --help"
    return f"{name} has no flag {flag}; {hint}"


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


# Of the machine and not of the program: a full disk, a folder without permission.
_OF_THE_MACHINE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
}


def _set_up_logging() -> None:
    """Plain lines on stderr from raindrop, and nothing from the libraries."""
    # What TensorFlow, XLA and their libraries say at import is of no use to anyone.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Orbax logs a page for every error that it raises too, and asyncio for its tasks.
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    # Names of files need not be UTF-8.
    if getattr(sys.stdout, "errors", None) == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    logger = logging.getLogger("raindrop")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the mode asked for.

    Args:
      argv: the arguments, without the program; those of the process by default.

    Returns:
      0; 1 where some of many files failed; 2 after one line on what is wrong.
    """
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"raindrop: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        name = f"{error.filename}: " if error.filename else ""
        print(f"raindrop: {name}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("raindrop: interrupted", file=sys.stderr)
        return 130


def _main(argv: Sequence[str]) -> int:
    name, arguments = _mode(argv)
    arguments = ["--help" if a == "--helpfull" else a for a in arguments]
    if name is None:
        if "--version" in arguments:
            print(f"raindrop {raindrop.__version__}")
        elif {"-h", "--help"} & set(arguments):
            print(usage())
        elif arguments:
            raise UserError(_unused(None, arguments[0].partition("=")[0]))
        else:
            print(usage(), file=sys.stderr)
            return 2
        return 0
    options = _parse(name, arguments)
    _set_up_logging()
    # What JAX makes while it is imported stays. To look for garbage in it, then and
    # later, takes a tenth of the time that one picture needs.
    gc.disable()
    from raindrop import compilation_cache

    gc.freeze()
    gc.enable()
    compilation_cache.enable()
    mode = MODES[name]
    try:
        return mode.run(options) or 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "raindrop"):
            raise
        extra = "-cpu" if mode.extra == "train" else f"/{mode.extra}"
        install = f"pip install -r requirements{extra}.txt"
        if program() != "python main.py":
            install = f"pip install 'raindrop[{mode.extra}]'"
        raise UserError(
            f"this needs the package {package}, which is not installed: {install}"
        ) from error
