"""InfoGAN, the comparison of the paper's appendix F: settings, losses and training."""
