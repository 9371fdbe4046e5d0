r"""The paper's ablation: what attention brings, in the generator and the discriminator.

Command:  for part in A A+D A+AD AA+AD; do
            python main.py train --config=configs/ablation.py:$part \
                --workdir=runs/ablation/$part
          done
Hardware: any, as quickstart.py, whose network, drops and photographs these are.
Result:   held out, after 300 steps: 23.89 / .8964 (A), 23.90 / .8965 (A+D),
          23.89 / .8966 (A+AD) and 24.02 / .8965 (AA+AD), untouched 23.77 / .8966; too
          short and too few to say more (docs/experiments.md). Each run's
          evaluation.json holds its row; all four start from one seed and see the same
          crops under the same drops. On test_a the paper has 29.25 / 0.7853 (A),
          30.88 / 0.8670 (A+D), 30.60 / 0.8710 (A+AD) and 31.57 / 0.9023 (AA+AD).

A: the autoencoder alone. A+D: with a discriminator that has no map. A+AD: with the
attentive one, whose map's target is the mask, since there is no attention map. AA+AD:
the whole. For the full size: `default` in place of `quickstart` below, and the commands
with `--config.data.photos=FOLDER`.
"""

from ml_collections import ConfigDict

from configs import quickstart

PARTS = ("A", "A+D", "A+AD", "AA+AD")


def get_config(part: str = "AA+AD") -> ConfigDict:
    """The configuration.

    Args:
      part: of `PARTS`.
    """
    if part not in PARTS:
        raise ValueError(f"there are {', '.join(PARTS)}, and no {part!r}")
    config = quickstart.get_config()
    config.training.num_steps = 300
    config.training.evaluate_every = 300
    if part != "AA+AD":
        config.model.generator.attention.steps = 0
        config.loss.attention = 0.0
        config.loss.map_target = "mask"
    if part == "A":
        config.loss.adversarial = 0.0
    if part == "A+D":
        config.model.discriminator.attentive = False
        config.loss.map = 0.0
    return config
