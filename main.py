"""raindrop's command line: parses flags and calls one function. See the README."""

import errno
import logging
import os
import re
import sys

# What TensorFlow, XLA and their libraries say at import is of no use to anyone here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from absl import flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from raindrop import compilation_cache
from raindrop.errors import UserError

_MODES = ("train", "evaluate", "derain", "render", "convert", "check")


def _of_config(error: Exception) -> UserError:
    """ml_collections' words on a field or a file that is not there, in one line."""
    near = re.search(r'Did you mean "(.+?)" instead of "(.+?)"', str(error))
    if near:
        return UserError(f"config has no field {near[2]}; did you mean {near[1]}?")
    return UserError(f"--config: {' '.join(str(error).split())}")


def _define_config() -> flags.FlagHolder:
    try:
        return config_flags.DEFINE_config_file(
            "config",
            os.path.join(os.path.dirname(__file__), "configs", "default.py"),
            "The configuration; --config.GROUP.FIELD=VALUE.",
        )
    except (AttributeError, KeyError, OSError) as error:
        # Without --config, fields that do not exist are found here already.
        print(f"raindrop: {_of_config(error)}", file=sys.stderr)
        sys.exit(2)


CONFIG = _define_config()
MODE = flags.DEFINE_enum("mode", "train", _MODES, "What to do.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; runs/NAME_OF_THE_CONFIG by default."
)
WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "A run, or any weight file; to derain, those that come with raindrop by default.",
)
COPIES = flags.DEFINE_integer(
    "copies", 1, "Pictures that render makes of each photograph.", lower_bound=1
)
DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "float16"], "Of what convert writes."
)
INPUT = flags.DEFINE_string("input", None, "What to derain.")
OUTPUT = flags.DEFINE_string("output", None, "Where the modes but train write.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Derain what is there already, too.")
ATTENTION = flags.DEFINE_bool("attention", False, "Write the attention maps as well.")
COMPARE = flags.DEFINE_bool("compare", False, "Write before|after as well.")
TILE = flags.DEFINE_integer(
    "tile", None, "Pictures of more than TILE x TILE pixels are cut; 0: none."
)
TEMPORAL = flags.DEFINE_float(
    "temporal",
    0.0,
    "Steadies a video's attention map: weight of the frame before.",
    lower_bound=0.0,
    upper_bound=0.99,
)
MAX_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", None, "Larger pictures are refused; 178.9 by default."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of the first of several processes that train."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many those are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")


def _workdir() -> str:
    if WORKDIR.value:
        return WORKDIR.value
    path = config_flags.get_config_filename(flags.FLAGS["config"])
    return os.path.join("runs", os.path.splitext(os.path.basename(path))[0])


def _need(**values: str | None) -> None:
    missing = [f"--{name}" for name, value in values.items() if not value]
    if missing:
        raise UserError(f"--mode={MODE.value} needs {' and '.join(missing)}")


def _set_up_logging() -> None:
    """Plain lines on stderr from raindrop, and nothing from the libraries."""
    # Orbax logs a page for every error that it raises too.
    absl_logging.set_verbosity(absl_logging.FATAL)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("raindrop")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _config() -> ConfigDict:
    from configs import default
    from raindrop.training import config_check

    try:
        config_check.fields(CONFIG.value, default.get_config())
    except OSError as error:
        # A file that is not there is told at the first use of what it holds.
        raise _of_config(error) from None
    return CONFIG.value


def _train() -> None:
    from raindrop.training import distributed
    from raindrop.training.loop import train_and_evaluate

    config = _config()
    several = distributed.start(
        COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    )
    if not several:
        train_and_evaluate(config, _workdir())
        return
    if not distributed.is_first():
        logging.getLogger("raindrop").setLevel(logging.WARNING)
    try:
        train_and_evaluate(config, _workdir())
        distributed.finish()
    except UserError as error:
        # An ordinary end would wait for the others, and they for this one.
        print(f"raindrop: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def _evaluate() -> None:
    from raindrop.data import pipeline
    from raindrop.evaluation import evaluate
    from raindrop.restoration.derainer import Derainer
    from raindrop.weights import checkpoints

    weights = WEIGHTS.value or _workdir()
    derainer = Derainer(checkpoints.load_generator(weights))
    config = _config()
    result, paths = evaluate.evaluate_to_folder(
        derainer.run,
        pipeline.evaluation_pairs(config),
        OUTPUT.value or _workdir(),
        config.eval,
    )
    print(evaluate.table(result))
    for path in paths:
        print(path)


def _derain() -> int:
    from raindrop.media import pictures
    from raindrop.restoration import files
    from raindrop.restoration.derainer import load

    _need(input=INPUT.value, output=OUTPUT.value)
    if MAX_MEGAPIXELS.value is not None:
        pictures.limit_megapixels(MAX_MEGAPIXELS.value)
    derainer = load(WEIGHTS.value, TILE.value)
    options = files.Options(
        OVERWRITE.value, ATTENTION.value, COMPARE.value, TEMPORAL.value
    )
    summary = files.derain_files(derainer, INPUT.value, OUTPUT.value, options)
    print(f"{OUTPUT.value}: {summary}")
    return 1 if summary.failed or summary.damaged else 0


def _render() -> None:
    from raindrop.data import rendered_pairs

    _need(input=INPUT.value, output=OUTPUT.value)
    config = _config()
    sheet = rendered_pairs.render_folder(
        INPUT.value,
        OUTPUT.value,
        config.data.rendering,
        config.training.seed,
        COPIES.value,
    )
    print(sheet)


def _convert() -> None:
    from raindrop.weights import checkpoints, safetensors_file

    _need(weights=WEIGHTS.value, output=OUTPUT.value)
    loaded = checkpoints.load_generator(WEIGHTS.value)
    safetensors_file.write(loaded, OUTPUT.value, DTYPE.value)
    print(OUTPUT.value)


def _check() -> None:
    from raindrop.data import check

    text, sheets = check.check(_config(), OUTPUT.value or _workdir())
    print(text)
    for path in sheets:
        print(path)


_RUN = {
    "train": _train,
    "evaluate": _evaluate,
    "derain": _derain,
    "render": _render,
    "convert": _convert,
    "check": _check,
}


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


def _with_home(argument: str) -> str:
    """--flag=~/x with the home folder, which bash leaves to the program."""
    name, equals, value = argument.partition("=")
    return name + equals + os.path.expanduser(value)


def _parse(argv: list[str]) -> None:
    try:
        rest = flags.FLAGS([_with_home(argument) for argument in argv])[1:]
    except flags.Error:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise _of_config(error) from None
    if rest:
        raise UserError(f"unknown argument {rest[0]!r}; flags begin with --")


def main(argv: list[str]) -> int:
    """Runs the mode asked for.

    Returns:
      0; 1 where some of many files failed; 2 after one line on what is wrong.
    """
    try:
        _parse(argv)
        _set_up_logging()
        compilation_cache.enable()
        return _RUN[MODE.value]() or 0
    except (UserError, flags.Error) as error:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv))
