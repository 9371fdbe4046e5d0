"""Several processes, on one machine or many, that train one network together."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from raindrop.errors import UserError

# A process that has not been heard of for so long is dead, and JAX ends the others.
HEARTBEAT_SECONDS = 30
_TASKS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def start(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> bool:
    """Joins the other processes of the run, if there are any.

    What is not given is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, or, under Slurm's `srun` and Open MPI's `mpirun`, from what
    `jax.distributed` finds there. To be called before anything else of JAX.

    Args:
      coordinator: HOST:PORT of the first process.
      num_processes: how many there are.
      process_id: which one this is, from 0.

    Returns:
      Whether there are several.

    Raises:
      UserError: something is missing or contradicts itself, or the others do not come.
    """
    environment = os.environ
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    if num_processes is None:
        num_processes = _integer("JAX_NUM_PROCESSES")
    if process_id is None:
        process_id = _integer("JAX_PROCESS_ID")
    scheduled = any((_integer(name) or 1) > 1 for name in _TASKS)
    if not coordinator and not scheduled:
        if num_processes not in (None, 1) or process_id:
            raise UserError(
                "several processes need --coordinator=HOST:PORT of the first of them"
            )
        return False
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            "the processes cannot join; give each --coordinator=HOST:PORT, "
            f"--num_processes and --process_id ({' '.join(str(error).split())[:300]})"
        ) from None
    return True


def _integer(name: str) -> int | None:
    value = os.environ.get(name)
    if not value:
        return None
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{name} must be a number, not {value!r}") from None


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def by_first(decide: Callable[[], int]) -> int:
    """The number, not negative, that `decide` gives in the first process, in all.

    Raises:
      UserError: whatever it raises there, and in the others that it did.
    """
    if jax.process_count() == 1:
        return decide()
    value, error = -1, None
    if is_first():
        try:
            value = decide()
        except UserError as raised:
            error = raised
    value = int(multihost_utils.broadcast_one_to_all(np.int32(value)))
    if error:
        raise error
    if value < 0:
        raise UserError("the first process has ended; its message says why")
    return value


def finish() -> None:
    """Leaves the others once all are here: the first may still be writing."""
    multihost_utils.sync_global_devices("the end of the run")
    jax.distributed.shutdown()
