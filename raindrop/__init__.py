"""Raindrop removal: the attentive GAN of Qian et al. (CVPR 2018) in JAX/Flax."""
