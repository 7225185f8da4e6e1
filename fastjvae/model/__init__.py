"""JointVAE: its networks, saving and loading, encoding of data sets, moves in latent space."""

from fastjvae.model.editing import edit, read_picture
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.loading import load, load_published
from fastjvae.model.networks import Decoder, Encoder

__all__ = ["Decoder", "Encoder", "JointVAE", "edit", "load", "load_published", "read_picture"]
