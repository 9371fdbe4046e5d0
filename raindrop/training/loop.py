"""The training loop: data, networks, state and step come together here.

It is the one loop there is. On a machine that has JAX and little else it runs with
`data.reader=numpy` and `training.evaluate_every=0`; whatever gives device batches can
take the place of `data.pipeline`, see `train_and_evaluate`.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from raindrop.compilation_cache import compile_ahead
from raindrop.data import pipeline
from raindrop.errors import UserError
from raindrop.media import atomic, pictures
from raindrop.training import (
    config_check,
    distributed,
    metric_writers,
    resume,
    run_record,
)
from raindrop.training.divergence import DivergedError, Watch
from raindrop.training.run_lock import RunLock
from raindrop.training.setup import make_networks, make_state, make_step, replicate
from raindrop.training.signals import StopSignals, StopTogether
from raindrop.training.state import GANState
from raindrop.training.step import Batch, Metrics
from raindrop.weights import LoadedGenerator, checkpoints, generators

if TYPE_CHECKING:
    from raindrop.training.validation import Scores

_LOG = logging.getLogger(__name__)
# From a config and the first step to device batches for ever; see `pipeline.batches`.
MakeBatches = Callable[[Any, int], Iterator[Batch]]


def train_and_evaluate(
    config: Any, workdir: str | Path, make_batches: MakeBatches = pipeline.batches
) -> GANState:
    """Trains in `workdir`, resuming from its newest whole checkpoint if it has one.

    Ctrl-C, SIGTERM and the end of `training.minutes` end it after the step it is at,
    which is saved. Of several processes all train, and the first one writes.

    Writes `config.json`, `metrics.jsonl`, TensorBoard's files, `checkpoints/`,
    `pictures/` and, at every evaluation, `evaluation.json` and `.csv`; `divergence/` if
    it comes to that. A run that is finished already writes nothing. What may change
    when one is resumed is told in `resume`.

    Args:
      config: the whole config.
      workdir: of the run.
      make_batches: where the batches come from.

    Raises:
      UserError: see `config_check.values`, `RunLock`, `setup.make_networks`,
        `pipeline.batches`, `checkpoints.read_newest` and `Watch`; a device without
        memory left, or another process that has died.
    """
    begin = time.monotonic()
    config_check.values(config)
    workdir = Path(workdir)
    with contextlib.ExitStack() as stack:

        def first_step() -> int:
            stack.enter_context(RunLock(workdir))
            saved = checkpoints.read_newest(workdir)
            return saved.step if saved else 0

        try:
            step = distributed.by_first(first_step)
            return _Run(config, workdir, step, make_batches, begin).train()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                raise UserError(
                    "the device has not enough memory for this; take a smaller "
                    "training.batch_size or data.crop_size"
                ) from error
            if jax.process_count() > 1:
                raise UserError(
                    "a process of this run has died, and the others cannot continue "
                    "without it; start all of them again with the same commands, and "
                    "the run resumes from its newest checkpoint"
                ) from error
            raise


class _Run:
    """This process's part of a run, from its first step to its last.

    Args:
      config: the whole config; of a run that starts from weights, its generator
        becomes theirs.
      workdir: whose lock the first process holds.
      first_step: saved in `workdir` if it is not 0.
      make_batches: see `train_and_evaluate`.
      begin: when this process began, by `time.monotonic`.
    """

    def __init__(
        self,
        config: Any,
        workdir: Path,
        first_step: int,
        make_batches: MakeBatches,
        begin: float,
    ) -> None:
        self._config, self._workdir, self._first_step = config, workdir, first_step
        minutes = config.training.minutes
        self._deadline = begin + 60 * minutes if minutes else float("inf")
        # What can go wrong cheaply comes first, before anything is compiled or written.
        saved, start, changes = self._where_from()
        self._validation = None
        if config.training.evaluate_every:
            # With OpenCV and scikit-image, which training alone does without.
            from raindrop.training.validation import Validation

            self._validation = Validation(config)
        self._batches = make_batches(config, first_step)
        if self._validation:
            self._validation.read_pairs()
        self._networks, self._vgg_params, vgg = make_networks(config)
        if self._vgg_params is not None:
            _LOG.info("perceptual loss: VGG-16, %(source)s %(sha256)s", vgg)
        if saved:
            changes |= resume.check_vgg(saved, vgg, config.training.allow_changes)
        self._record = run_record.make(config, start, saved, vgg, changes)
        self._from_weights = start is not None
        state, self._schedules = make_state(
            config, self._networks, start.params if start else None
        )
        self._state = saved.into(state) if saved else state

    def _where_from(
        self,
    ) -> tuple[checkpoints.Saved | None, LoadedGenerator | None, dict[str, str]]:
        """The checkpoint to resume from, or the weights to start from; what changed.

        Either of the first two may be None. The network of `training.weights` comes
        with them.
        """
        config, weights = self._config, self._config.training.weights
        if self._first_step:
            saved = checkpoints.read(self._workdir, self._first_step)
            if weights:
                # They need not be there any more.
                fields = saved.meta["config"]["model"]["generator"]
                config.model.generator = ConfigDict(fields)
            changes = resume.check(saved, config)
            if self._first_step < config.training.num_steps:
                _LOG.info(
                    "resuming from step %d in %s", self._first_step, self._workdir
                )
            return saved, None, changes
        if not weights:
            return None, None, {}
        try:
            loaded = generators.load_generator(weights)
        except UserError as error:
            raise UserError(f"training.weights: {error}") from None
        config.model.generator = ConfigDict(loaded.fields)
        config_check.values(config)
        _LOG.info("the generator starts from %s", loaded.source)
        return None, loaded, {}

    def train(self) -> GANState:
        """Takes the steps that are left, or those until it is to stop."""
        config, training = self._config, self._config.training
        if self._first_step == training.num_steps:
            _LOG.info(
                "%s is finished: its %d steps are done; more training.num_steps resume "
                "it",
                *(self._workdir, self._first_step),
            )
            return self._state
        with contextlib.ExitStack() as stack:
            self._output = None
            if distributed.is_first():
                self._output = stack.enter_context(
                    _Output(config, self._workdir, self._record, self._first_step)
                )
            self._stop_signals = stack.enter_context(StopSignals())
            self._stop_together = StopTogether()
            self._watch = Watch(self._workdir, training.batch_size)
            self._progress = metric_writers.Progress(
                self._first_step, training.num_steps, training.batch_size
            )
            self._pace = _Pace(self._progress, training.num_steps)
            step = make_step(config, self._networks, self._schedules)
            if self._from_weights and self._validation:
                self._evaluate(0, self._state)  # what training is to better
            state, vgg_params = replicate((self._state, self._vgg_params))
            del self._state  # the step donates it
            for done in range(self._first_step + 1, training.num_steps + 1):
                batch = next(self._batches)
                if done == self._first_step + 1:
                    step = compile_ahead(step, state, vgg_params, batch)
                state, metrics = step(state, vgg_params, batch)
                if self._after_step(done, state, metrics, batch):
                    break
            self._progress.close()
            if self._output and int(state.step) == training.num_steps:
                self._output.log_paths()
        return state

    def _after_step(
        self, done: int, state: GANState, metrics: Metrics, batch: Batch
    ) -> bool:
        """Looks at what step `done` gave, reports, evaluates and saves as it is time.

        Returns:
          Whether to stop here.
        """
        training = self._config.training
        last = done == training.num_steps
        self._watch.step(done, metrics, batch)
        reason = self._stop_signals.received
        if time.monotonic() > self._deadline:
            reason = reason or f"training.minutes={training.minutes:g}"
        stopping = self._stop_together.any_wants(reason is not None) and not last
        self._progress.update(done)
        self._pace.step(done, metrics)
        if done % training.log_every == 0 or last or done == 1:
            self._report(done, metrics)
        evaluating = self._validation and (done % training.evaluate_every == 0 or last)
        saving = last or stopping or done % training.checkpoint_every == 0
        if saving or evaluating:
            self._watch.settle()
            psnr = self._evaluate(done, state) if evaluating else None
            self._save(state, psnr)
        if stopping:
            self._progress.log(
                f"stopped by {reason or 'another process'} after step {done} of "
                f"{training.num_steps}, which is saved; the same command resumes from "
                "there"
            )
        return stopping

    def _report(self, done: int, metrics: Metrics) -> None:
        scalars = {name: float(value) for name, value in metrics.items()}
        scalars |= self._progress.report(done, scalars)
        if self._output:
            named = {f"train/{name}": value for name, value in scalars.items()}
            self._output.writer.write_scalars(done, named)

    def _evaluate(self, done: int, state: GANState) -> float:
        """Evaluates, in all processes; gives the number that checkpoints compete in."""
        assert self._validation is not None
        scores = self._validation.evaluate(state.ema)
        self._progress.log(f"step {done}\n{scores.table}")
        if self._output:
            self._output.write_scores(done, scores)
        return scores.choosing

    def _save(self, state: GANState, psnr: float | None) -> None:
        if not self._output:
            return
        there = ("config", "versions", "date")  # as a checkpoint has them anyway
        notes = {k: v for k, v in self._record.items() if k not in there}
        try:
            self._output.checkpoints.save(state, self._config, psnr, notes)
        except FloatingPointError as error:
            if jax.process_count() > 1:
                # The batch is in all of them, and only this one is here.
                raise DivergedError(str(error)) from None
            raise self._watch.report(str(error)) from None


class _Output:
    """What the first process of a run writes into the work directory."""

    def __init__(
        self, config: Any, workdir: Path, record: dict[str, Any], first_step: int
    ) -> None:
        self._workdir, self._record = workdir, record
        if first_step:
            checkpoints.set_damaged_aside(workdir, first_step)
        self.checkpoints = checkpoints.Checkpoints(workdir)
        with atomic.replacing(workdir / "config.json") as part:
            part.write_text(config.to_json_best_effort(indent=2))
        lines = metric_writers.JsonLines(workdir / "metrics.jsonl", first_step)
        lines.write_record(first_step, record)
        writers: list[metric_writers.MetricWriter] = [lines]
        try:
            writers.append(metric_writers.TensorBoard(workdir))
        except ImportError as error:
            _LOG.warning("no files for TensorBoard: %s", error)
        self.writer = metric_writers.MultiWriter(writers)

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *_: object) -> None:
        self.checkpoints.__exit__()

    def write_scores(self, step: int, scores: "Scores") -> None:
        """The table, its numbers as metrics, and the picture."""
        self.writer.write_scalars(step, scores.scalars)
        path = self._workdir / "pictures" / f"{step:07d}.png"
        pictures.write_image(path, scores.panel)
        self.writer.write_images(step, {"panel": scores.panel[None]})
        scores.write(self._workdir, step, self._record)
        self.writer.flush()

    def log_paths(self) -> None:
        """Names what was written."""
        best = self.checkpoints.best_step()
        folder = self._workdir / checkpoints.FOLDER
        _LOG.info("checkpoints, the best of step %s: %s", best, folder)
        for name in ("metrics.jsonl", "evaluation.json", "evaluation.csv", "pictures"):
            if (self._workdir / name).exists():
                _LOG.info("%s", self._workdir / name)


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
            self._progress.log(text)
