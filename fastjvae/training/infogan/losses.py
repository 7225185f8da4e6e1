"""InfoGAN (Chen et al. 2016, arXiv:1606.03657), the paper's comparison in appendix F.

A generator, the decoder of a JointVAE, makes images of codes from the prior. A discriminator tells
them from real ones, and Q reads the codes from them; both are heads of the encoder's layers. With
D the discriminator's log odds, c the codes and L_I a lower bound of the mutual information,

    discriminator, Q:  min  E[softplus(-D(x))] + E[softplus(D(G(c)))] - lambda L_I
    generator:         min  E[softplus(-D(G(c)))] - lambda L_I
    L_I = H(c) + E[log Q(c | G(c))]

Q(c | x) is what the encoder's head says: a Gaussian with mean and log variance for every continuous
code, a softmax for every discrete one. The codes' prior is the model's own, N(0, 1) and uniform
categories, instead of the uniform interval of Chen et al.: the trained model is then a JointVAE
whose samples, traversals and metrics compare directly. It is evaluated on real images, of which Q
has never been told a code.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae.model import JointVAE


class Judgement(NamedTuple):
    """The words of discriminator and Q about N images."""

    odds: Tensor  # (N,) log odds that the image is real
    params: Tensor  # (N, P) parameter rows of the codes


class InfoGAN(nn.Module):
    """The two losses of InfoGAN on the networks of a JointVAE, and the discriminator's own head.

    Args:
        model: its decoder generates, its encoder's layers are shared by discriminator and Q; both
            are initialised anew. The continuous units behind those of ``codes`` are noise: Q gives
            them mean 0 and variance 1 whatever the image, so that they have no KL.
        codes: the latent variables that Q reads.
        disc_information, cont_information: lambda of the discrete and the continuous codes.
    """

    def __init__(
        self,
        model: JointVAE,
        codes: LatentSpec,
        disc_information: float = 1.0,
        cont_information: float = 0.1,
    ) -> None:
        super().__init__()
        self.codes, self.spec = codes, model.spec
        self.disc_information, self.cont_information = disc_information, cont_information
        self.odds = nn.Linear(model.hidden_dim, 1)
        _initialise(model)
        noise = torch.arange(codes.cont, model.spec.cont)
        head: Any = model.encoder.head
        with torch.no_grad():  # no loss reads these, so they stay
            for rows in (noise, model.spec.cont + noise):
                head.weight[rows] = 0.0
                head.bias[rows] = 0.0

    def judge(self, model: JointVAE, images: Tensor) -> Judgement:
        """Images (N, C, H, W) in [0, 1] -> the outputs of both heads, in the images' dtype."""
        encoder: Any = model.encoder
        features = encoder.hidden_features(images)
        odds, params = self.odds(features)[:, 0], encoder.head(features)
        return Judgement(odds.to(images.dtype), params.to(images.dtype))

    def discriminator_loss(
        self, model: JointVAE, real: Tensor, generated: Tensor, inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of discriminator and Q, and how often the discriminator is right.

        Args:
            model: the networks.
            real, generated: (N, C, H, W) in [0, 1] each.
            inputs: (N, L) sample rows that ``generated`` is made of.
        """
        judgement = self.judge(model, torch.cat([real, generated]))
        of_real, of_generated = judgement.odds[: len(real)], judgement.odds[len(real) :]
        right = torch.cat([of_real > 0, of_generated < 0]).to(real.dtype).mean()
        information = self.information(judgement.params[len(real) :], inputs)
        loss = -F.logsigmoid(of_real).mean() - F.logsigmoid(-of_generated).mean()
        return loss - self._weighted(*information), right

    def generator_loss(
        self, model: JointVAE, generated: Tensor, inputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of the generator, and :meth:`information`."""
        judgement = self.judge(model, generated)
        information = self.information(judgement.params, inputs)
        loss = -F.logsigmoid(judgement.odds).mean() - self._weighted(*information)
        return loss, *information

    def information(self, params: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """L_I in nats, of the continuous and of the discrete codes, each summed over its codes.

        Args:
            params: parameter rows (N, P) that Q gives.
            inputs: sample rows (N, L) that the images were made of.
        """
        units = self.codes.cont
        z, mean = inputs[:, :units], params[:, :units]
        logvar = params[:, self.spec.cont : self.spec.cont + units]
        # H(N(0, 1)) + log N(z; mean, variance)
        square = ((z - mean) * (-0.5 * logvar).exp()).square()
        cont = 0.5 * (1.0 - logvar - square).sum(dim=1).mean()
        log_q = [
            (inputs[:, columns] * params[:, logits].log_softmax(dim=1)).sum(dim=1).mean()
            for columns, logits in zip(self.spec.categories, self.spec.logits, strict=True)
        ]
        disc: Tensor = sum(log_q, start=cont.new_zeros(())) + largest_kl(self.spec.disc)
        return cont, disc

    def _weighted(self, cont: Tensor, disc: Tensor) -> Tensor:
        return self.cont_information * cont + self.disc_information * disc


def _initialise(model: JointVAE) -> None:
    """Weights that keep the size of what passes through a ReLU (He et al. 2015), and no biases.

    PyTorch's own shrink it in every layer, until images are those of the biases: without batch
    normalisation no code shows in them for long, and none can be read from them.
    """
    for module in model.modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            continue
        inputs = module.weight[0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            # Weights are (in, out, 4, 4), of which stride 2 brings 2x2 taps to each output.
            inputs = module.in_channels * 4
        nn.init.normal_(module.weight, std=(2 / inputs) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
