"""Full-resolution generator, trained on rendered raindrops (work in progress)."""

from ml_collections import ConfigDict

from configs import lite


def get_config() -> ConfigDict:
    """The configuration."""
    config = lite.get_config()
    config.data.crop_size = 256
    config.data.blurred = 0.25
    config.data.hazy = 0.05
    config.data.rendering.dry = 0.1
    generator = config.model.generator
    generator.attention_patch_size = 4
    generator.patch_size = 2
    generator.gated = False
    generator.autoencoder = ConfigDict(
        {
            "kind": "residual",
            "widths": (40, 56, 80),
            "encoder_blocks": (1, 1),
            "decoder_blocks": (1, 1),
            "dilations": (1, 2, 4, 8, 1),
            "pictures": 2,
            "map_channels": 4,
        }
    )
    config.loss.attention = 0.05
    config.loss.gate = 0.1
    config.loss.ssim = 0.5
    config.loss.multiscale = (0.1, 0.1, 1.0)
    config.loss.least_mse = 2e-4
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 200
    config.training.ema_decay = 0.998
    config.training.batch_size = 2
    config.training.log_every = 50
    config.training.checkpoint_every = 200
    config.training.evaluate_every = 5000
    config.training.num_steps = 8_000
    return config
