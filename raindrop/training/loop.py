"""The training loop: data, networks, state and step come together here."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from raindrop.data.pairs import Pair
from raindrop.errors import UserError
from raindrop.evaluation import evaluate
from raindrop.media import atomic, pictures
from raindrop.media.folder_lock import FolderLock
from raindrop.restoration.derainer import Derainer
from raindrop.training import config_check, distributed, metric_writers
from raindrop.training.divergence import DivergedError, Watch
from raindrop.training.setup import (
    Step,
    make_networks,
    make_state,
    make_step,
    replicate,
)
from raindrop.training.signals import Agreement, StopSignals
from raindrop.training.state import GANState
from raindrop.training.step import Batch, Metrics
from raindrop.weights import LoadedGenerator, checkpoints

_LOG = logging.getLogger(__name__)


def train_loop(
    state: GANState,
    step: Step,
    vgg_params: Any,
    batches: Iterator[Batch],
    num_steps: int,
    on_step: Callable[[int, GANState, Metrics, Batch], bool],
) -> GANState:
    """Trains from the state's step to `num_steps`.

    Args:
      state: to go on from; donated.
      step: of `setup.make_step`.
      vgg_params: for the step.
      batches: device batches, the first one for the state's step.
      num_steps: to end at.
      on_step: called after every step with the number of steps done, the new state,
        the metrics (on the device still) and the batch; says whether to stop there.
    """
    for done in range(int(state.step) + 1, num_steps + 1):
        batch = next(batches)
        state, metrics = step(state, vgg_params, batch)
        if on_step(done, state, metrics, batch):
            break
    return state


def train_and_evaluate(config: Any, workdir: str | Path) -> GANState:
    """Trains in `workdir`, going on from its newest whole checkpoint if it has one.

    Ctrl-C and SIGTERM end it after the step it is at, which is saved. Of several
    processes all train, and the first one writes.

    Writes `config.json`, `metrics.jsonl`, TensorBoard's files, `checkpoints/`,
    `pictures/` and, at the end, `evaluation.json` and `.csv`; `divergence/` if it
    comes to that.

    Raises:
      UserError: see `config_check.values`, `FolderLock`, `setup.make_networks`,
        `pipeline.batches`, `checkpoints.read_newest` and `Watch`; a device without
        memory left, or another process that has died.
    """
    config_check.values(config)
    workdir = Path(workdir)
    with contextlib.ExitStack() as stack:

        def first_step() -> int:
            stack.enter_context(FolderLock(workdir))
            saved = checkpoints.read_newest(workdir)
            return saved.step if saved else 0

        try:
            return _train(config, workdir, distributed.by_first(first_step))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise UserError(
                    "the device has not enough memory for this; take a smaller "
                    "training.batch_size or data.crop_size"
                ) from error
            if jax.process_count() > 1:
                raise UserError(
                    "a process of this run has died, and the others cannot go on "
                    "without it; start all of them again with the same commands, and "
                    "the run goes on from its newest checkpoint"
                ) from error
            raise


def _train(config: Any, workdir: Path, first_step: int) -> GANState:
    """Trains on from `first_step`, which is saved in `workdir` if it is not 0."""
    from raindrop.data import pipeline

    training = config.training
    # What can go wrong cheaply comes first, before anything is compiled or written.
    start, saved = None, None
    if first_step:
        saved = checkpoints.read(workdir, first_step)
        if training.weights:
            # The network came with them, and they need not be there any more.
            fields = saved.meta["config"]["model"]["generator"]
            config.model.generator = ConfigDict(fields)
        saved.check_config(config)
        _LOG.info("going on from step %d in %s", first_step, workdir)
    elif training.weights:
        try:
            loaded = checkpoints.load_generator(training.weights)
        except UserError as error:
            raise UserError(f"training.weights: {error}") from None
        # The network that fits the weights comes with them.
        config.model.generator = ConfigDict(loaded.fields)
        config_check.values(config)
        start = loaded.params
        _LOG.info("the generator starts from %s", loaded.source)
    lpips = evaluate.make_lpips(config.eval)
    batches = pipeline.batches(config, first_step)
    pairs = list(pipeline.validation_pairs(config))
    if not pairs:
        raise UserError("none of the pairs to evaluate on can be read")
    networks, vgg_params, vgg_source = make_networks(config)
    state, schedules = make_state(config, networks, start)
    if saved:
        state = saved.into(state)
    with contextlib.ExitStack() as stack:
        output = None
        if distributed.is_first():
            output = stack.enter_context(_Output(config, workdir, first_step))
        stop = stack.enter_context(StopSignals())
        agreement = Agreement()
        watch = Watch(workdir, training.batch_size)
        progress = metric_writers.Progress(
            first_step, training.num_steps, training.batch_size
        )
        step = make_step(config, networks, schedules)
        pace = _Pace(progress, training.num_steps)

        def on_step(done: int, state: GANState, metrics: Metrics, batch: Batch) -> bool:
            last = done == training.num_steps
            watch.step(done, metrics, batch)
            stopping = agreement.any(stop.received is not None) and not last
            progress.update(done)
            pace.step(done, metrics)
            if done % training.log_every == 0 or last or done == 1:
                scalars = {k: float(v) for k, v in metrics.items()}
                scalars |= progress.report(done, scalars)
                if output:
                    output.writer.write_scalars(done, scalars)
            evaluating = done % training.evaluate_every == 0 or last
            saving = evaluating or stopping or done % training.checkpoint_every == 0
            psnr = None
            if saving:
                watch.settle()
            if evaluating:
                evaluation, picture = _evaluate(config, state, pairs, lpips)
                psnr = evaluate.choosing(evaluation, config.eval.protocol)
                progress.say(f"step {done}\n{evaluate.table(evaluation)}")
                if output:
                    output.write_evaluation(done, evaluation, picture)
            if saving and output:
                try:
                    notes = {"vgg": vgg_source}
                    output.checkpoints.save(state, config, psnr, notes)
                except FloatingPointError as error:
                    if jax.process_count() > 1:
                        # The batch is in all of them, and only this one is here.
                        raise DivergedError(str(error)) from None
                    raise watch.report(str(error)) from None
            if stopping:
                progress.say(
                    f"stopped by {stop.received or 'another process'} after step "
                    f"{done} of {training.num_steps}, which is saved; the same command "
                    "goes on from there"
                )
            return stopping

        state, vgg_params = replicate((state, vgg_params))
        state = train_loop(
            state, step, vgg_params, batches, training.num_steps, on_step
        )
        progress.close()
        if output and int(state.step) == training.num_steps:
            output.say_where()
    return state


class _Output:
    """What the first process of a run writes into the work directory."""

    def __init__(self, config: Any, workdir: Path, first_step: int) -> None:
        self._workdir = workdir
        if first_step:
            checkpoints.set_damaged_aside(workdir, first_step)
        self.checkpoints = checkpoints.Checkpoints(workdir)
        with atomic.aside(workdir / "config.json") as part:
            part.write_text(config.to_json_best_effort(indent=2))
        self.writer = metric_writers.Several(
            metric_writers.JsonLines(workdir / "metrics.jsonl", first_step),
            metric_writers.TensorBoard(workdir),
        )

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *_: object) -> None:
        self.checkpoints.__exit__()

    def write_evaluation(
        self, step: int, evaluation: evaluate.Evaluation, picture: np.ndarray
    ) -> None:
        """The table, its numbers as metrics, and the picture."""
        self.writer.write_scalars(step, evaluate.scalars(evaluation))
        path = self._workdir / "pictures" / f"{step:07d}.png"
        pictures.write_image(path, picture)
        self.writer.write_images(step, {"panel": picture[None]})
        evaluate.write(evaluation, self._workdir)
        self.writer.flush()

    def say_where(self) -> None:
        """Names what was written."""
        best = self.checkpoints.best_step()
        folder = self._workdir / checkpoints.FOLDER
        _LOG.info("checkpoints, the best of step %s: %s", best, folder)
        for name in ("metrics.jsonl", "evaluation.json", "evaluation.csv", "pictures"):
            if (self._workdir / name).exists():
                _LOG.info("%s", self._workdir / name)


def _evaluate(
    config: Any, state: GANState, pairs: list[Pair], lpips: evaluate.Distance | None
) -> tuple[evaluate.Evaluation, np.ndarray]:
    """Scores the moving average, and makes a panel of the first pair."""
    fields = config.model.generator.to_dict()
    derainer = Derainer(LoadedGenerator(fields, jax.device_get(state.ema), "training"))
    evaluation = evaluate.evaluate(derainer.run, pairs, lpips)
    output, attention = derainer.run(pairs[0].rainy)
    return evaluation, panel(pairs[0], output, attention)


def panel(pair: Pair, output: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Rainy, the attention maps of every step, output, clean, in a row; uint8 RGB."""
    return pictures.side_by_side([pair.rainy, *attention, output, pair.clean])


class _Pace:
    """Says after a few steps how long the run will take, and warns on a CPU."""

    _MEASURED = 2  # steps timed, after the first, which compiles

    def __init__(self, progress: metric_writers.Progress, num_steps: int) -> None:
        self._progress, self._num_steps, self._seen = progress, num_steps, 0

    def step(self, done: int, metrics: Metrics) -> None:
        self._seen += 1
        if self._seen > 1 + self._MEASURED:
            return
        jax.block_until_ready(metrics)
        if self._seen == 1:
            self._start = time.monotonic()
        if self._seen == 1 + self._MEASURED:
            seconds = (time.monotonic() - self._start) / self._MEASURED
            left = seconds * (self._num_steps - done)
            text = f"a step takes {seconds:.3g} s here, the rest of the run "
            text += f"about {metric_writers.duration(left)}"
            if jax.default_backend() == "cpu" and left > 3600:
                text += (
                    "; on a CPU, configs/quickstart.py shows the whole pipeline in "
                    "minutes"
                )
            self._progress.say(text)
