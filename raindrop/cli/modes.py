"""The modes of the command line; `MODES` is the table of them.

A mode imports what it needs when it runs, so that the first picture does not wait for
TensorFlow.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from raindrop.cli.arguments import (
    Mode,
    Parser,
    config_of,
    program,
    required,
    workdir_of,
)
from raindrop.errors import UserError
from raindrop.weights import PRETRAINED


def _add_workdir(parser: Parser) -> None:
    parser.add_argument(
        "--workdir",
        type=os.path.expanduser,
        help="folder of the run; default: runs/NAME_OF_THE_CONFIG",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text}")
    return int(text)


def _temporal(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 0.99:
        raise argparse.ArgumentTypeError(f"must be from 0 to 0.99, not {text}")
    return value


def _train_arguments(parser: Parser) -> None:
    _add_workdir(parser)
    parser.add_argument(
        "--coordinator", help="HOST:PORT of the first of several processes that train"
    )
    parser.add_argument("--num_processes", type=int, help="how many those are")
    parser.add_argument("--process_id", type=int, help="which one this is, from 0")


def _train(options: argparse.Namespace) -> None:
    from raindrop.training import distributed
    from raindrop.training.loop import train_and_evaluate

    if not options.config_given:
        raise UserError(
            f"train needs a config, such as {program()} train --config=quickstart; "
            f"{program()} train --help lists them"
        )
    config, workdir = config_of(options), workdir_of(options)
    several = distributed.start(
        options.coordinator, options.num_processes, options.process_id
    )
    if not several:
        train_and_evaluate(config, workdir)
        return
    if not distributed.is_first():
        logging.getLogger("raindrop").setLevel(logging.WARNING)
    try:
        train_and_evaluate(config, workdir)
        distributed.finish()
    except UserError as error:
        # An ordinary end would wait for the others, and they for this one.
        print(f"raindrop: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def _evaluate_arguments(parser: Parser) -> None:
    parser.add_weights("the run in --workdir; without one lite, which comes along")
    parser.add_argument(
        "--workdir",
        type=os.path.expanduser,
        help="the same as --weights, for a run. Of a run its own config is taken, if "
        "there is no --config",
    )
    parser.add_argument(
        "--output",
        type=os.path.expanduser,
        help="folder to write; default: evaluations/WEIGHTS/DATA",
    )


def _evaluate(options: argparse.Namespace) -> int:
    from raindrop.evaluation import job
    from raindrop.weights import generators

    weights = options.weights or options.workdir or PRETRAINED
    loaded = generators.load_generator(weights)
    config = config_of(options, loaded.config)
    name = Path(weights).name.removesuffix(".safetensors")
    if loaded.config:  # of a run, whose steps differ
        name = loaded.source
    # A folder beside --weights is one to write.
    output = options.output or (options.workdir if options.weights else None)
    left_out = 0
    for result, text, paths in job.evaluate_weights(loaded, config, output, name):
        print(text)
        for path in paths:
            print(path)
        left_out += len(result["left_out"])
    return 1 if left_out else 0


def _add_engine(parser: Parser) -> None:
    parser.add_argument(
        "--engine",
        choices=["jax", "onnxruntime", "openvino"],
        default="jax",
        help="what computes: JAX, or a package of that name",
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default="float32",
        help="of the computation; bfloat16 with --engine=openvino alone",
    )


def _add_tile(parser: Parser) -> None:
    parser.add_argument(
        "--tile",
        type=int,
        help="pictures of more than TILE x TILE pixels are cut into tiles; 0: none; "
        "default: 768, or 1152 for networks on patches of pixels",
    )


def _derain_arguments(parser: Parser) -> None:
    parser.add_path("input", "a picture, a folder, a quoted glob or a video")
    parser.add_path("output", "the file to write; of several, a folder")
    parser.add_weights(PRETRAINED.stem)
    parser.add_switch("overwrite", "derain what is in the output already, too")
    parser.add_switch("attention", "write the attention maps too")
    parser.add_switch("compare", "write before|after too")
    parser.add_switch(
        "fast", "look at a picture in one size alone: quicker, and less clean"
    )
    _add_tile(parser)
    parser.add_argument(
        "--temporal",
        type=_temporal,
        default=0.0,
        help="steadies the map of a video's drops: weight of the frame before, to 0.99",
    )
    parser.add_argument(
        "--max_megapixels",
        type=float,
        help="larger pictures are refused; default: 178.9",
    )
    parser.add_argument(
        "--num_processes",
        type=_positive,
        default=1,
        help="processes that share the input, each with an id of its own; each does "
        "the files whose names fall to it",
    )
    parser.add_argument(
        "--process_id", type=int, default=0, help="which of them this one is, from 0"
    )
    parser.add_argument(
        "--summary",
        metavar="FILE",
        type=os.path.expanduser,
        help="a JSON file of what was done; several processes write theirs into OUTPUT",
    )
    _add_engine(parser)


def _derain(options: argparse.Namespace) -> int:
    from raindrop.export import engines
    from raindrop.media import pictures
    from raindrop.restoration import files

    source, target = required(options, "input", "output")
    if options.max_megapixels is not None:
        pictures.limit_megapixels(options.max_megapixels)
    derainer = engines.load(
        options.weights, options.tile, options.engine, options.precision
    )
    derainer.fast = options.fast
    summary = files.derain_files(
        derainer,
        source,
        target,
        files.Options(
            options.overwrite,
            options.attention,
            options.compare,
            options.temporal,
            options.num_processes,
            options.process_id,
            options.summary,
        ),
    )
    print(f"{target}: {summary}")
    return 1 if summary.failed or summary.damaged else 0


def _render_arguments(parser: Parser) -> None:
    parser.add_path("input", "folder of photographs")
    parser.add_path("output", "folder for the pairs")
    parser.add_argument(
        "--copies", type=_positive, default=1, help="pictures made of each photograph"
    )


def _render(options: argparse.Namespace) -> int:
    from raindrop.data import rendered_pairs

    source, target = required(options, "input", "output")
    config = config_of(options)
    made = rendered_pairs.render_folder(
        source,
        target,
        config.data.rendering,
        config.training.seed,
        options.copies,
        config.data.on_error == "skip",
    )
    failed = f", {len(made.failed)} photographs left out" if made.failed else ""
    print(f"{target}: {made.pairs} pairs{failed}")
    print(made.sheet)
    return 1 if made.failed else 0


def _convert_arguments(parser: Parser) -> None:
    parser.add_path("weights", "what --weights of derain takes")
    parser.add_path("output", "the .safetensors file to write")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="of the numbers in it",
    )


def _convert(options: argparse.Namespace) -> None:
    from raindrop.weights import generators, safetensors_file

    weights, target = required(options, "weights", "output")
    loaded = generators.load_generator(weights)
    safetensors_file.write(loaded, target, options.dtype)
    print(target)


def _export_arguments(parser: Parser) -> None:
    parser.add_path("weights", "what --weights of derain takes")
    parser.add_path("output", "the file to write")
    parser.add_argument(
        "--format",
        choices=["onnx", "stablehlo"],
        help="default: onnx, or what the name of OUTPUT ends in",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="of weights and computation; pictures are float32 on both sides",
    )


def _export(options: argparse.Namespace) -> None:
    from raindrop.export import onnx_file, stablehlo_file
    from raindrop.weights import generators

    weights, target = required(options, "weights", "output")
    stablehlo = target.lower().endswith(stablehlo_file.EXTENSION)
    kind = options.format or ("stablehlo" if stablehlo else "onnx")
    write = {"onnx": onnx_file.write, "stablehlo": stablehlo_file.write}[kind]
    write(generators.load_generator(weights), target, options.dtype)
    print(target)


def _serve_arguments(parser: Parser) -> None:
    parser.add_weights("lite, which comes with raindrop")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines use the page",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="to listen at; 0: any that is free"
    )
    parser.add_argument("--max_megabytes", type=float, default=200.0, help="of a file")
    parser.add_argument(
        "--max_megapixels", type=float, default=64.0, help="of a picture"
    )
    parser.add_argument("--max_seconds", type=float, default=60.0, help="of a video")
    _add_engine(parser)


def _serve(options: argparse.Namespace) -> None:
    from raindrop import serve

    serve.serve(
        options.weights,
        options.host,
        options.port,
        (options.engine, options.precision),
        serve.Limits(
            options.max_megabytes, options.max_megapixels, options.max_seconds
        ),
    )


def _check_arguments(parser: Parser) -> None:
    _add_workdir(parser)
    parser.add_argument(
        "--output",
        type=os.path.expanduser,
        help="folder to write; default: that of --workdir",
    )


def _check(options: argparse.Namespace) -> None:
    from raindrop.data import check

    text, sheets = check.check(
        config_of(options), options.output or workdir_of(options)
    )
    print(text)
    for path in sheets:
        print(path)


MODES = {
    "derain": Mode(
        "remove raindrops from a picture, a folder or a video",
        _derain_arguments,
        _derain,
    ),
    "train": Mode(
        "train a network, or resume a run",
        _train_arguments,
        _train,
        takes_config=True,
    ),
    "evaluate": Mode(
        "score weights on pairs: PSNR and SSIM, a table, an HTML report",
        _evaluate_arguments,
        _evaluate,
        takes_config=True,
    ),
    "render": Mode(
        "put raindrops before photographs: a data set of pairs",
        _render_arguments,
        _render,
        takes_config=True,
    ),
    "check": Mode(
        "look for mistakes in pairs before training on them",
        _check_arguments,
        _check,
        takes_config=True,
    ),
    "convert": Mode(
        "write any weights as one .safetensors file", _convert_arguments, _convert
    ),
    "export": Mode(
        "write any weights as a program: ONNX or StableHLO",
        _export_arguments,
        _export,
    ),
    "serve": Mode(
        "show a page in the browser that removes raindrops, on this machine alone",
        _serve_arguments,
        _serve,
        extra="web",
    ),
}
