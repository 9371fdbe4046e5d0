"""Damages videos of every kind at random and looks at what becomes of them.

    python benchmarks/fuzz_videos.py [--cases=40] [--seed=0] [--kinds=h264_mp4,...]

Of each kind of `tests/made_video.py`, cases files are cut off, or get flipped bits, or
runs of zeros, in the packets of the film or anywhere. Each is run as `derain` runs it,
with a network that changes nothing. Prints for each kind how many were

- refused: with one line, and nothing left behind;
- told: done, and what is damaged or missing was said;
- same: done, with the frames and the sound of the whole file, each at its time;
- unseen: done, every frame at its time, but pictures that differ: bits that say
  something else than they did, and still say it properly, no decoder can tell;
- elsewhere: done, and something else differs, where the damage is in what describes the
  film rather than in the film: the same holds there.

What must not be ends the run with exit code 1: a traceback, more than a line, files
left behind, frames or sound missing without a word, a case of more than a minute.
"""

import argparse
import collections
import faulthandler
import logging
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import av
import made_video
import numpy as np

from raindrop.errors import UserError
from raindrop.media import formats, video
from raindrop.restoration import files

TIMEOUT = 60  # seconds
MOST_DIFFERENCE = 12  # of 255, on average over a frame; what encoding again may do
DAMAGES = ("cut", "flip", "flip_film", "zeros_film")


class Told(logging.Handler):
    """What was logged: warnings, and exceptions that nobody had expected."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.tracebacks, self.left_out = [], []

    def emit(self, record):
        """Sorts one message."""
        if record.exc_info:
            self.tracebacks.append(repr(record.exc_info[1]))
        elif "leaves out" in record.getMessage():
            self.left_out.append(record.getMessage())


def film_spans(path):
    """(start, length) of the film's packets in the file, but for what heads them.

    That is, among others, Matroska's time stamps.
    """
    with av.open(str(path)) as container:
        return [
            (packet.pos + 16, packet.size - 16)
            for packet in container.demux(video=0)
            if packet.size > 40 and packet.pos is not None
        ]


def damaged(content, spans, damage, rng):
    """The file's bytes, damaged, and how."""
    content, end = bytearray(content), len(content)
    if damage == "cut":
        place = int(rng.uniform(0.02, 1) * len(content))
        del content[place:]
        return content, f"cut at {place}"
    if damage == "flip":
        places = rng.integers(0, len(content), rng.integers(1, 6)).tolist()
    else:
        start, length = spans[rng.integers(len(spans))]
        end = min(end, start + length)
        places = (start + rng.integers(0, length, rng.integers(1, 6))).tolist()
    for place in places:
        if damage == "zeros_film":
            length = max(0, min(64, end - place))
            content[place : place + length] = bytes(length)
        elif place < len(content):
            content[place] ^= 1 << int(rng.integers(8))
    return content, f"{damage} at {places}"


def contents(path):
    """Times, pictures and sound of a video."""
    info = video.probe(path)
    frames = list(video.read_frames(path, info))
    times = [float(time * info.time_base) for time, _ in frames]
    return (
        np.array(times) - times[0],
        [picture.astype(np.float32) for _, picture in frames],
        len(made_video.packets(path, "audio")),
    )


def difference(whole, result):
    """What is not as it was: "", "pictures", or what else."""
    if len(whole[0]) != len(result[0]):
        return f"{len(result[0])} of {len(whole[0])} frames"
    if np.abs(whole[0] - result[0]).max() > 0.02:
        return "times"
    if whole[2] != result[2]:
        return f"{result[2]} of {whole[2]} packets of sound"
    for one, other in zip(whole[1], result[1], strict=True):
        scale = 257 if one.max() > 255 else 1
        if one.shape != other.shape:
            return "size"
        if np.abs(one - other).mean() > MOST_DIFFERENCE * scale:
            return "pictures"
    return ""


def judge(path, target, whole, damage):
    """One case: (what became of it, a word on it); "wrong" must not be."""
    told = Told()
    logger = logging.getLogger("raindrop")
    logger.addHandler(told)
    try:
        summary = files.derain_files(made_video.Unchanged(), path, target)
    except UserError as error:
        summary, refusal = None, str(error)
    finally:
        logger.removeHandler(told)
    if told.tracebacks:
        return "wrong", told.tracebacks[0]
    left = [p.name for p in target.parent.iterdir() if p not in (path, target)]
    if left:
        return "wrong", f"left {left}"
    if summary is None:
        bad = "\n" in refusal or path.name not in refusal or target.exists()
        return ("wrong" if bad else "refused"), refusal
    result = contents(target)
    if summary.damaged or told.left_out:
        word = "; ".join([what for _, what in summary.damaged] + told.left_out)
        return ("wrong" if "\n" in word or not result[1] else "told"), word
    what = difference(whole, result)
    if not what:
        return "same", ""
    if what == "pictures" and damage != "cut":
        return "unseen", what
    return ("elsewhere" if damage == "flip" else "wrong"), what


def fuzz(kinds, cases, seed, folder, verbose=False):
    """Yields kind, counts of what became of its cases, and those that are wrong."""
    for kind in kinds:
        source = made_video.make_kind(folder, kind)
        original, spans = source.read_bytes(), film_spans(source)
        counts, wrong = collections.Counter(), []
        targets = {s: contents_of(source, folder, s) for s in (source.suffix, ".mkv")}
        for case in range(cases):
            rng = np.random.default_rng([seed, case, len(kind), *kind.encode()])
            damage = DAMAGES[case % len(DAMAGES)]
            content, how = damaged(original, spans, damage, rng)
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = Path(place) / source.name
                path.write_bytes(content)
                own = path.suffix in formats.WRITABLE_VIDEOS and case % 8 < 4
                suffix = path.suffix if own else ".mkv"
                faulthandler.dump_traceback_later(TIMEOUT, exit=True)
                target = Path(place) / f"result{suffix}"
                what, word = judge(path, target, targets[suffix], damage)
                faulthandler.cancel_dump_traceback_later()
            counts[what] += 1
            if verbose:
                print(f"  {kind} {case} {how} -> {suffix}: {what}: {word}")
            if what == "wrong":
                wrong.append(f"{kind}, case {case}, {how}, to {suffix}: {word}")
        yield kind, counts, wrong


def contents_of(source, folder, suffix):
    """What the whole file gives in a container; None where it is not written."""
    if suffix not in formats.WRITABLE_VIDEOS:
        return None
    target = folder / f"whole{suffix}"
    files.derain_files(
        made_video.Unchanged(), source, target, files.Options(overwrite=True)
    )
    return contents(target)


def main():
    """Reads the flags, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(made_video.KINDS))
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("raindrop").propagate = False
    all_wrong = []
    with tempfile.TemporaryDirectory() as folder:
        kinds = arguments.kinds.split(",")
        for kind, counts, wrong in fuzz(
            kinds, arguments.cases, arguments.seed, Path(folder), arguments.verbose
        ):
            print(f"{kind:16}", dict(counts), flush=True)
            all_wrong += wrong
    print("\n".join(all_wrong) or "nothing wrong")
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
