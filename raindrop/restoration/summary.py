"""What was done with many files, and the sum of what several processes did.

python -m raindrop.restoration.summary OUTPUT/summary-*.json adds up their files.
"""

import collections
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raindrop.errors import UserError
from raindrop.media import atomic

_NAMED = 20  # files for each reason, in what is printed; all are in a summary file


@dataclasses.dataclass
class Summary:
    """What was done.

    Attributes:
      done: files written.
      skipped: files that were there already.
      failed: file and reason, one each.
      damaged: file and what its result lacks for it; these are among the done.
      not_taken: file and why it is no source.
      notes: file and what was lost or changed on the way; among the done.
      pixels: that went through the network, all frames of videos counted.
      seconds: that it took, compilation included.
    """

    done: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    damaged: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    not_taken: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    notes: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    pixels: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        speed = self.pixels / max(self.seconds, 1e-9) / 1e6
        taken = f", {len(self.not_taken)} not taken" if self.not_taken else ""
        lines = [
            f"{self.done} done, {self.skipped} there already, {len(self.failed)} "
            f"failed{taken}; {self.seconds:.1f} s, {speed:.2f} megapixels per second"
        ]
        lines += [f"failed: {reason}" for _, reason in self.failed]
        lines += [f"damaged: {path}: {what}" for path, what in self.damaged]
        for heading, entries in (("not taken", self.not_taken), ("note", self.notes)):
            for reason, paths in _by_reason(entries).items():
                names = ", ".join(str(path) for path in paths[:_NAMED])
                more = len(paths) - _NAMED
                rest = f" and {more} more" if more > 0 else ""
                lines.append(f"{heading}: {reason}: {len(paths)} ({names}{rest})")
        return "\n".join(lines)

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            field.name: [[str(path), reason] for path, reason in value]
            if isinstance(value := getattr(self, field.name), list)
            else value
            for field in dataclasses.fields(self)
        }

    def write(self, path: Path, **more: Any) -> None:
        """Writes a JSON file of the summary and of `more`.

        Raises:
          UserError: it cannot be written.
        """
        content = json.dumps({**more, **self.as_dict()}, indent=2)
        try:
            with atomic.replacing(path) as part:
                part.write_text(content + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from None


def _by_reason(entries: Sequence[tuple[Path, str]]) -> dict[str, list[Path]]:
    reasons = collections.defaultdict(list)
    for path, reason in entries:
        reasons[reason].append(path)
    return reasons


def read(path: str | os.PathLike) -> tuple[Summary, dict[str, Any]]:
    """A summary file's summary, and all that is in the file.

    Raises:
      UserError: it is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        values = [content[field.name] for field in dataclasses.fields(Summary)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is no summary file: {error!r}") from None
    return (
        Summary(
            *(
                [(Path(name), reason) for name, reason in value]
                if isinstance(value, list)
                else value
                for value in values
            )
        ),
        content,
    )


def add_up(paths: Sequence[str | os.PathLike]) -> tuple[Summary, list[int]]:
    """The sum of several processes' files, and which processes have none yet.

    Raises:
      UserError: one of them is no summary file, or they are not of one run.
    """
    total = Summary()
    count, seen = 1, set()
    for path in paths:
        summary, content = read(path)
        process, of = content.get("process_id", 0), content.get("num_processes", 1)
        if seen and (of != count or process in seen):
            raise UserError(
                f"{path} is not of the same run as {paths[0]}: it is process {process} "
                f"of {of}"
            )
        count = of
        seen.add(process)
        total += summary
    return total, sorted(set(range(count)) - seen)


def main(paths: Sequence[str]) -> int:
    """Prints the sum of summary files.

    Returns:
      0; 1 where files failed or are damaged, or processes have not ended; 2 after one
      line on what is wrong.
    """
    try:
        if not paths:
            raise UserError("give summary files, such as OUTPUT/summary-*.json")
        total, missing = add_up(paths)
    except UserError as error:
        print(f"raindrop: {error}", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="backslashreplace")
    print(total)
    if missing:
        print(f"not ended: processes {', '.join(map(str, missing))}")
    return 1 if total.failed or total.damaged or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
