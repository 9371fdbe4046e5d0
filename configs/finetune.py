r"""Goes on from given weights, on pairs of your own.

Command:  python main.py --config=configs/finetune.py --workdir=runs/finetune \
              --config.training.weights=WEIGHTS --config.data.dir=FOLDER_OF_PAIRS
Hardware: one GPU of 12 GB or more.
Result:   depends on the pairs; the first evaluation against that of the last step
          tells. Look at the pairs before, with `check`.

WEIGHTS is what --weights takes: a run, the authors' gen.pkl... The network is that of
the weights, whatever the model group says. A tenth of the learning rate and few steps:
the weights are near their end already. The discriminator starts anew and would only
pull at them, so it is off; set loss.adversarial to have it.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.data.name = "pairs"
    config.data.scale = (0.8, 1.25)
    config.loss.adversarial = 0.0
    config.optimizer.learning_rate = 2e-5
    config.optimizer.warmup_steps = 200
    config.training.weights = "WEIGHTS"  # to be given: none ends the run with a line
    config.training.num_steps = 5_000
    config.training.evaluate_every = 500
    config.training.checkpoint_every = 500
    return config
