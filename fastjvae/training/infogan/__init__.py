"""InfoGAN (Chen et al. 2016), which the paper compares JointVAE with in appendix F."""
