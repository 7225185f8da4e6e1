"""JointVAE: its networks, saving and loading, encoding of data sets, moves in latent space."""

from fastjvae.model.checkpoint import load, load_published
from fastjvae.model.editing import edit, read_picture
from fastjvae.model.jointvae import Decoder, Encoder, JointVAE

__all__ = ["Decoder", "Encoder", "JointVAE", "edit", "load", "load_published", "read_picture"]
