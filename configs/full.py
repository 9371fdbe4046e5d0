r"""The release's generator, trained by the full recipe on what lite learned from.

Command:  python main.py --config=configs/full.py --workdir=runs/full \
              --config.data.photos=FOLDER
          and on a machine without TensorFlow and OpenCV, in pieces of some minutes,
          each resuming where the last one ended:
          python main.py train --config=configs/full.py --workdir=runs/full \
              --config.data.photos=FOLDER --config.data.reader=numpy \
              --config.training.evaluate_every=0 --config.training.minutes=9
Hardware: one large GPU, in bfloat16; how much memory it takes was not measured.
Result:   not trained yet; no number is claimed.

Attention, multi-scale, perceptual and adversarial loss; photographs and drops are
lite's. The map blends the painted picture in, so that dry panes stay what they were.
"""

from ml_collections import ConfigDict

from configs import default, lite


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.data = lite.get_config().data
    config.data.crop_size = 320
    config.model.generator.attention.sigmoid_map = True
    config.model.generator.gated = True
    config.loss.multiscale_norm = "psnr"
    # Features of a VGG with random weights stand in where ImageNet's are not at hand,
    # and count less.
    config.loss.perceptual = 0.1
    config.optimizer.learning_rate = 4e-4
    config.training.num_steps = 30_000
    config.training.batch_size = 8
    config.training.precision = "bfloat16"
    return config
