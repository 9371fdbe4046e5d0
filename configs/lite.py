r"""A slim generator for machines without a GPU, trained on rendered raindrops.

Command:  python main.py --config=configs/lite.py --workdir=runs/lite \
              --config.data.photos=FOLDER
Hardware: one GPU; seven minutes on a large one that base's training shared. On a CPU,
          with training.batch_size=4, 1.5 s a step on one core: a day or two.

The attention recurrence works on patches of 8 x 8 pixels, with two steps at 24
channels; an autoencoder of residual blocks works on patches of 2 x 2. It paints a
picture, brings back contrast (its second picture is a gain of the input), and says for
each pixel how much of that counts: a gate as fine as the smallest bead, which leaves a
dry pane as it is. The gate has learned where drops are, the recurrence hardly
(docs/experiments.md). An overview of the whole picture judges, place by place, whether
what looks like a drop is one. No discriminator, and perceptual loss in the last phase
of the shipped weights alone: their gradients cost more than the generator's own, and
PSNR does not need them.

How the shipped weights came about is told in raindrop/pretrained/README.md.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    # Soft and hazy scenes too: else they are taken for veiled. And round, shiny things
    # that belong to the scene: else they are taken for drops.
    config.data.cluttered = 0.3
    config.data.scale = (0.8, 1.6)
    config.data.blurred = 0.3
    config.data.blur = (1.0, 16.0)
    config.data.hazy = 0.1
    config.data.rendering.dry = 0.25
    # What is changed visibly, be it by drops or by the veil.
    config.data.rendering.mask_rule = "difference"
    config.data.rendering.mask_difference = 12 / 255
    attention = config.model.generator.attention
    attention.steps = 2
    attention.channels = 24
    attention.num_blocks = 1
    attention.sigmoid_map = True
    attention.remat = False  # two slim steps take little memory
    generator = config.model.generator
    generator.signed = True
    # A fresh network gives back its input. With pictures painted from nothing the gate
    # closes in the first steps, and no gradient opens it again.
    generator.residual = True
    generator.patch_size = 2
    generator.attention_patch_size = 8
    generator.autoencoder = ConfigDict(
        {
            "kind": "residual",
            "widths": (32, 48, 80),
            "encoder_blocks": (1, 1),
            "decoder_blocks": (1, 1),
            "dilations": (1, 2, 4, 8, 1),
            "pictures": 2,
            "map_channels": 4,  # one for each pixel of a patch
            "overview": 48,  # what counts, seen from all of the picture
        }
    )
    config.loss.attention = 0.1
    config.loss.gate = 0.1
    config.loss.wet = 0.1
    config.loss.multiscale = (0.1, 0.1, 1.0)
    config.loss.multiscale_norm = "psnr"
    config.loss.least_mse = 2e-4  # 37 dB
    config.loss.ssim = 0.5
    config.loss.perceptual = 0.0
    config.loss.adversarial = 0.0
    # Adam learns less in a step, though its steps take a quarter less time.
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 200
    config.training.batch_size = 32
    config.training.num_steps = 8_000
    config.training.log_every = 100
    config.training.checkpoint_every = 500
    config.training.evaluate_every = 2_000
    return config
