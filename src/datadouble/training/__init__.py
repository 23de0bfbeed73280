"""The one training loop, checkpoints, the latent cache and what belongs to them."""
