"""Clean photographs: where they are, and which are held out."""

from pathlib import Path

from raindrop.data import scenes
from raindrop.errors import UserError
from raindrop.media import pictures

BUNDLED = "bundled"
# Colour photographs inside scikit-image's wheel (public domain, CC0 and CC BY); the cat
# is held out.
_BUNDLED_TRAIN = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
_BUNDLED_HELD_OUT = ("chelsea.png",)


def split(photos: str, num_held_out: int) -> tuple[list[Path], list[Path]]:
    """Photographs for training and photographs held out for evaluation.

    Args:
      photos: `BUNDLED`, or a folder, searched through and through.
      num_held_out: how many to hold out, at least one; see `scenes.split`.

    Returns:
      (training, held out), each sorted.

    Raises:
      UserError: no folder, or fewer than two photographs in it.
    """
    if photos == BUNDLED:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
        return (
            [folder / name for name in _BUNDLED_TRAIN],
            [folder / name for name in _BUNDLED_HELD_OUT],
        )
    paths = pictures.find_images(photos)
    if len(paths) < 2:
        raise UserError(
            f"{photos} holds one photograph; at least two are needed, "
            "since one is held out for evaluation"
        )
    names = [path.relative_to(photos).as_posix() for path in paths]
    held_out = set(
        scenes.split(names, range(len(names)), max(num_held_out, 1)).held_out
    )
    return (
        [p for i, p in enumerate(paths) if i not in held_out],
        [p for i, p in enumerate(paths) if i in held_out],
    )
