"""Whatever ends a run, the run that goes on from it ends as if nothing had been."""

import json
import os
import signal
import socket
import subprocess

import numpy as np
import pytest
from faults import NUM_STEPS, Runner, bad_line, digests, end, metrics, wait_for

from raindrop.weights import checkpoints


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def whole(runner, tmp_path_factory):
    """The work directory of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    code, stderr = runner.run(*runner.arguments(workdir))
    assert code == 0, stderr
    return workdir


def test_stopped_killed_and_locked_out(runner, whole, tmp_path):
    """SIGTERM, a second process, Ctrl-C, SIGKILL in a save; then the rest."""
    workdir = tmp_path / "run"
    arguments = runner.arguments(workdir)

    def stop(process, name):
        process.send_signal(getattr(signal, name))
        code, stderr = end(process)
        assert code == 0, stderr
        assert f"stopped by {name}" in stderr
        assert "the same command resumes" in stderr
        saved = checkpoints.steps(workdir)[-1]
        assert metrics(workdir)[-1]["step"] == saved, "more steps than saved"
        return saved

    first = runner.start(*arguments)
    wait_for(first, "step 3/")
    saved = stop(first, "SIGTERM")

    first = runner.start(*arguments)
    said = wait_for(first, f"step {saved + 1}/")
    assert f"resuming from step {saved}" in said
    os.kill(first.pid, signal.SIGSTOP)
    code, stderr = runner.run(*arguments)
    assert code == 2
    assert f"process {first.pid} on {socket.gethostname()}" in stderr
    assert len(stderr.splitlines()) == 1
    os.kill(first.pid, signal.SIGCONT)
    assert stop(first, "SIGINT") > saved

    # A save may be over before the signal comes; the next run goes on to the next one.
    assert any(runner.kill_in_a_save(workdir, *arguments) for _ in range(3))
    code, stderr = runner.run(*arguments)
    assert code == 0, stderr
    assert not list((workdir / "checkpoints").glob("*tmp*"))
    assert digests(workdir) == digests(whole)
    assert metrics(workdir) == metrics(whole)


def test_a_full_disk(runner, whole, tmp_path):
    """One line, and the checkpoint before is whole; with more space, the run ends."""
    disk = tmp_path / "disk"
    disk.mkdir()
    # Space for two checkpoints and half of the third.
    files = (whole / "checkpoints" / str(NUM_STEPS)).rglob("*")
    pages = sum(-(-path.stat().st_size // 4096) for path in files if path.is_file())
    size = f"size={10 * pages + 64}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "none", disk]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    try:
        workdir = disk / "run"
        code, stderr = runner.run(*runner.arguments(workdir))
        assert code == 2, stderr
        line = bad_line(stderr)
        assert "No space left on device" in line
        newest = checkpoints.steps(workdir)[-1]
        assert checkpoints.read_newest(workdir).step == newest
        assert f"step {newest} is whole" in line
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        code, stderr = runner.run(*runner.arguments(workdir))
        assert code == 0, stderr
        assert digests(workdir) == digests(whole)
        assert metrics(workdir) == metrics(whole)
    finally:
        subprocess.run(["umount", disk], check=True)


POISON = """
import sys
import numpy as np
from raindrop.data import pipeline
from raindrop import cli

def poisoned(config, first_step, batches=pipeline.batches):
    for i, batch in enumerate(batches(config, first_step), first_step + 1):
        if i == 10:
            batch = {k: np.array(v) for k, v in batch.items()}
            batch["clean"][0, 3, 5:7, 5, 0] = np.nan
        yield batch

pipeline.batches = poisoned
sys.exit(cli.main())
"""


def test_divergence_stops_the_run_at_that_step(runner, whole, tmp_path):
    workdir = tmp_path / "run"
    arguments = runner.arguments(workdir, training__checkpoint_every=2)
    code, stderr = runner.run(*arguments, program=("-c", POISON))
    assert code == 2, stderr
    line = bad_line(stderr)
    assert "of step 10 is not finite" in line
    assert "g_total" in line
    # That of step 10 would have been a checkpoint, and was not saved.
    assert checkpoints.steps(workdir)[-1] == 8
    record = json.loads((workdir / "divergence" / "0000010.json").read_text())
    assert record["indices"] == list(range(72, 80))
    counts = [example["clean"] for example in record["values_not_finite"]]
    assert counts == [0, 0, 0, 2, 0, 0, 0, 0]
    assert (workdir / "divergence" / "0000010.png").stat().st_size
    # Without the poison the run goes on, and ends as it would have.
    code, stderr = runner.run(*runner.arguments(workdir))
    assert code == 0, stderr
    assert digests(workdir) == digests(whole)


# The other's death is noticed sooner than a user would want it to be.
IMPATIENT = """
import sys
from raindrop import cli
from raindrop.training import distributed

distributed.HEARTBEAT_SECONDS = 10
sys.exit(cli.main())
"""


def processes(runner, workdir, **fields):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        runner.start(
            *runner.arguments(workdir, **fields),
            f"--coordinator=127.0.0.1:{port}",
            "--num_processes=2",
            f"--process_id={i}",
            devices=2,
            program=("-c", IMPATIENT),
        )
        for i in range(2)
    ]


def test_two_processes_do_what_one_does(runner, whole, tmp_path):
    """The numbers of the losses; stopped together; the death of one ends the other."""
    workdir = tmp_path / "run"
    first, second = processes(runner, workdir)
    wait_for(first, "step 6/")
    second.send_signal(signal.SIGTERM)  # only one of them is told
    (code, said), (other_code, other_said) = end(first), end(second)
    assert (code, other_code) == (0, 0), said + other_said
    assert "stopped by another process" in said
    compared = 0
    for mine, alone in zip(metrics(workdir)[:6], metrics(whole)[:6], strict=True):
        assert mine.keys() == alone.keys()
        for name in mine:
            assert mine[name] == pytest.approx(alone[name], rel=1e-6, abs=1e-6)
            compared += 1
    assert compared > 40

    # Four devices saved it; one goes on.
    saved = checkpoints.steps(workdir)[-1]
    code, stderr = runner.run(*runner.arguments(workdir))
    assert code == 0, stderr
    assert f"resuming from step {saved}" in stderr
    np.testing.assert_allclose(
        metrics(workdir)[-2]["train/g_total"],
        metrics(whole)[-2]["train/g_total"],
        rtol=1e-3,
    )

    # And the reverse: one device saved it, four in two processes go on; one dies.
    steps = NUM_STEPS + 100_000
    first, second = processes(runner, workdir, training__num_steps=steps)
    said = wait_for(first, f"step {NUM_STEPS + 2}/")
    assert f"resuming from step {NUM_STEPS}" in said
    second.kill()
    code, stderr = end(first)
    end(second)
    assert code not in (0, None)
    # On a busy machine the one may have given up on the other before it was killed.
    said += stderr
    assert "a process of this run has died" in said or "another task died" in said, said
