"""The two baselines of a training step, each a model and a step of its own in plain PyTorch.

:class:`PublishedTraining` is the published way (the paper, appendix B and C, and the manner in
which the authors' code is described): one picture at a time through torchvision's transforms,
noise drawn on the CPU, images contiguous, a sigmoid and then cross-entropy on probabilities, a
linear layer for each latent parameter, plain Adam, and every loss read by ``.item()`` in every
step. It is written from that description.

:class:`TunedTraining` is what somebody who knows PyTorch writes by hand: channels_last, uint8
images resident on the device, one linear head, cross-entropy on logits, ``log_softmax``, fused
Adam, and nothing that waits for the device. ``torch.compile`` of its loss is a third baseline.

Both start from the weights of a :class:`fastjvae.JointVAE` and take explicit noise, so that runs
can be compared step by step. Losses are in nats per image but for ``loss``, which is divided by the
H * W pixels.
"""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fastjvae import JointVAE
from fastjvae.training.settings.objective import CapacityConfig
from fastjvae.training.settings.train import TrainConfig

HIDDEN = 256
EPS = 1e-12  # of the published way, inside its logarithms


class Losses(NamedTuple):
    """What a step reports; numbers, or tensors that nobody has read yet."""

    loss: Any
    reconstruction: Any
    kl_cont: Any  # one for each continuous unit
    kl_disc: Any  # one for each categorical variable


def widths(img_size: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """Channels before, between and behind the convolutions of encoder and decoder (appendix B)."""
    channels, height, _ = img_size
    if height == 64:
        return [channels, 32, 32, 64, 64], [64, 64, 32, 32, channels]
    return [channels, 32, 64, 64], [64, 32, 32, channels]


def stack(
    layer: type[nn.Conv2d] | type[nn.ConvTranspose2d], channels: list[int]
) -> list[nn.Module]:
    """4x4 layers of stride 2, a ReLU behind each."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        modules += [layer(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.ReLU()]
    return modules


def capacity_at(capacity: CapacityConfig, step: Any, maximum: float) -> Any:
    """C(step), nats; a float for an int and a tensor for a tensor."""
    progress = (step - capacity.start) / capacity.iters
    if isinstance(step, Tensor):
        grown = capacity.lo + (capacity.hi - capacity.lo) * progress.clamp(0.0, 1.0)
        return grown.clamp(max=maximum)
    return min(capacity.lo + (capacity.hi - capacity.lo) * min(max(progress, 0.0), 1.0), maximum)


# --- the published way ----------------------------------------------------------------------------


class PublishedModel(nn.Module):
    """Encoder, one linear layer for each latent parameter, decoder with a sigmoid.

    Parameters have the published names (:mod:`fastjvae.model.published`).
    """

    def __init__(self, config: TrainConfig, img_size: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = widths(img_size)
        self.img_to_features = nn.Sequential(*stack(nn.Conv2d, encoder))
        self.features_to_hidden = nn.Sequential(nn.Linear(64 * 4 * 4, HIDDEN), nn.ReLU())
        self.fc_mean = nn.Linear(HIDDEN, config.cont)
        self.fc_log_var = nn.Linear(HIDDEN, config.cont)
        self.fc_alphas = nn.ModuleList(nn.Linear(HIDDEN, size) for size in config.disc)
        self.latent_to_features = nn.Sequential(
            nn.Linear(config.cont + sum(config.disc), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 64 * 4 * 4),
            nn.ReLU(),
        )
        self.features_to_img = nn.Sequential(*stack(nn.ConvTranspose2d, decoder)[:-1], nn.Sigmoid())

    def forward(
        self, images: Tensor, normal: Tensor | None, uniform: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Reconstructed images, means, log variances, and probabilities of each variable."""
        hidden = self.features_to_hidden(self.img_to_features(images).flatten(1))
        mean, logvar = self.fc_mean(hidden), self.fc_log_var(hidden)
        alphas = [F.softmax(layer(hidden), dim=1) for layer in self.fc_alphas]
        if normal is None:
            normal = torch.randn(mean.shape).to(mean.device)
        sample = [mean + torch.exp(0.5 * logvar) * normal]
        offset = 0
        for alpha in alphas:
            size = alpha.shape[1]
            if uniform is None:
                drawn = torch.rand(alpha.shape).to(alpha.device)
            else:
                drawn = uniform[:, offset : offset + size]
            gumbel = -torch.log(-torch.log(drawn + EPS) + EPS)
            relaxed = (torch.log(alpha + EPS) + gumbel) / self.config.temperature
            sample.append(F.softmax(relaxed, dim=1))
            offset += size
        features = self.latent_to_features(torch.cat(sample, dim=1)).unflatten(1, (64, 4, 4))
        return self.features_to_img(features), mean, logvar, alphas


class PublishedTraining:
    """A step of the published way; see the module.

    Args:
        config: sizes, capacities, temperature and learning rate.
        img_size: (C, H, W), H and W both 32 or both 64.
        device: where the model is.
        dtype: of the model; float64 for tests.
    """

    def __init__(
        self,
        config: TrainConfig,
        img_size: tuple[int, int, int],
        device: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.pixels = img_size[1] * img_size[2]
        self.model = PublishedModel(config, img_size).to(device, dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr)
        self.steps = 0

    def load(self, model: JointVAE) -> None:
        """Start from the weights of ``model``."""
        self.model.load_state_dict(model.published_state_dict())

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images as its DataLoader gives them: floats 0..1, contiguous, on the CPU."""
        return images.to(self.dtype) / 255

    def step(
        self, images: Tensor, normal: Tensor | None = None, uniform: Tensor | None = None
    ) -> Losses:
        """Take one step; the losses are numbers, each read from the device."""
        self.steps += 1
        images = images.to(self.device)
        self.optimizer.zero_grad()
        reconstructed, mean, logvar, alphas = self.model(images, normal, uniform)
        reconstruction = (
            F.binary_cross_entropy(
                reconstructed.view(-1, self.pixels), images.view(-1, self.pixels)
            )
            * self.pixels
        )
        kl_cont = torch.mean(-0.5 * (1 + logvar - mean.pow(2) - logvar.exp()), dim=0)
        kl_disc = [
            math.log(alpha.shape[1])
            + torch.mean(torch.sum(alpha * torch.log(alpha + EPS), dim=1), dim=0)
            for alpha in alphas
        ]
        cont, disc = self.config.cont_capacity, self.config.disc_capacity
        largest = sum(math.log(size) for size in self.config.disc)
        loss = (
            reconstruction
            + cont.gamma
            * torch.abs(kl_cont.sum() - capacity_at(cont, self.steps, maximum=math.inf))
            + disc.gamma * torch.abs(sum(kl_disc) - capacity_at(disc, self.steps, maximum=largest))
        ) / self.pixels
        loss.backward()
        self.optimizer.step()
        return Losses(
            loss.item(),
            reconstruction.item(),
            [kl_cont[unit].item() for unit in range(len(kl_cont))],
            [kl.item() for kl in kl_disc],
        )


class PublishedImages(Dataset[tuple[Tensor, int]]):
    """Pictures as torchvision's MNIST gives them: one at a time, resized and made a tensor.

    Args:
        pictures: (N, 1, 28, 28) uint8.
    """

    def __init__(self, pictures: Tensor) -> None:
        from torchvision import transforms

        self.pictures = pictures
        self.transform = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        picture = Image.fromarray(self.pictures[index, 0].numpy())
        return self.transform(picture), 0


def published_loader(pictures: Tensor, batch_size: int) -> DataLoader[tuple[Tensor, int]]:
    """Shuffled batches of (images, labels)."""
    return DataLoader(PublishedImages(pictures), batch_size=batch_size, shuffle=True)


# --- tuned ----------------------------------------------------------------------------------------


class TunedModel(nn.Module):
    """The same networks with one head and logits at the end; parameters named as JointVAE's."""

    def __init__(self, config: TrainConfig, img_size: tuple[int, int, int]) -> None:
        super().__init__()
        encoder, decoder = widths(img_size)
        self.encoder = nn.Module()
        self.encoder.features = nn.Sequential(*stack(nn.Conv2d, encoder))
        self.encoder.hidden = nn.Linear(64 * 4 * 4, HIDDEN)
        self.encoder.head = nn.Linear(HIDDEN, 2 * config.cont + sum(config.disc))
        self.decoder = nn.Module()
        self.decoder.latent_to_features = nn.Sequential(
            nn.Linear(config.cont + sum(config.disc), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 64 * 4 * 4),
            nn.ReLU(),
        )
        self.decoder.features_to_image = nn.Sequential(*stack(nn.ConvTranspose2d, decoder)[:-1])

    def encode(self, images: Tensor) -> Tensor:
        """Images -> rows [mean | logvar | logits of each variable]."""
        features = self.encoder.features(images).flatten(1)
        return self.encoder.head(F.relu(self.encoder.hidden(features)))  # type: ignore[no-any-return]

    def decode(self, sample: Tensor) -> Tensor:
        """Samples -> logits of the pixels."""
        features = self.decoder.latent_to_features(sample).unflatten(1, (64, 4, 4))
        features = features.contiguous(memory_format=torch.channels_last)
        return self.decoder.features_to_image(features)  # type: ignore[no-any-return]


class TunedTraining:
    """A step of a tuned eager model; see the module.

    Args:
        config, img_size, device, dtype: as for :class:`PublishedTraining`.
        compile_mode: compile model and loss together by ``torch.compile`` in this mode.
    """

    def __init__(
        self,
        config: TrainConfig,
        img_size: tuple[int, int, int],
        device: str,
        dtype: torch.dtype = torch.float32,
        compile_mode: str | None = None,
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.pixels = img_size[1] * img_size[2]
        self.model = TunedModel(config, img_size).to(
            device, dtype, memory_format=torch.channels_last
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, fused=True)
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        self._losses: Any = self.losses
        if compile_mode is not None:
            self._losses = torch.compile(
                self.losses, fullgraph=True, dynamic=False, mode=compile_mode
            )

    def load(self, model: JointVAE) -> None:
        """Start from the weights of ``model``."""
        self.model.load_state_dict(model.state_dict())

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images on the device."""
        return images.to(self.device)

    def losses(self, images: Tensor, normal: Tensor, exponential: Tensor, step: Tensor) -> Losses:
        """The loss of uint8 images and its parts; -log of an Exp(1) number is a Gumbel number."""
        config = self.config
        x = images.to(self.dtype).div_(255).contiguous(memory_format=torch.channels_last)
        params = self.model.encode(x)
        mean, logvar, *logits = params.split([config.cont, config.cont, *config.disc], dim=1)
        log_ps = [F.log_softmax(part, dim=1) for part in logits]
        noises = exponential.log().split(list(config.disc), dim=1)
        relaxed = [
            F.softmax((log_p - noise) / config.temperature, dim=1)
            for log_p, noise in zip(log_ps, noises, strict=True)
        ]
        sample = torch.cat([torch.addcmul(mean, (0.5 * logvar).exp(), normal), *relaxed], dim=1)
        reconstruction = F.binary_cross_entropy_with_logits(
            self.model.decode(sample), x, reduction="sum"
        ) / (x.shape[0] * x.shape[1])
        kl_cont = 0.5 * (mean.square() + logvar.exp() - logvar - 1).mean(dim=0)
        kl_disc = torch.stack(
            [math.log(log_p.shape[1]) + (log_p.exp() * log_p).sum(dim=1).mean() for log_p in log_ps]
        )
        cont, disc = config.cont_capacity, config.disc_capacity
        largest = sum(math.log(size) for size in config.disc)
        excess_cont = kl_cont.sum() - capacity_at(cont, step, maximum=math.inf)
        excess_disc = kl_disc.sum() - capacity_at(disc, step, maximum=largest)
        loss = reconstruction + cont.gamma * excess_cont.abs() + disc.gamma * excess_disc.abs()
        return Losses(loss / self.pixels, reconstruction, kl_cont, kl_disc)

    def step(
        self, images: Tensor, normal: Tensor | None = None, uniform: Tensor | None = None
    ) -> Losses:
        """Take one step; the losses are tensors."""
        if normal is None:
            normal = torch.randn(
                len(images), self.config.cont, device=self.device, dtype=self.dtype
            )
        if uniform is None:
            exponential = torch.empty(
                len(images), sum(self.config.disc), device=self.device, dtype=self.dtype
            ).exponential_()
        else:
            exponential = -uniform.log()
        losses: Losses = self._losses(images, normal, exponential, self.steps.add_(1))
        self.optimizer.zero_grad(set_to_none=True)
        losses.loss.backward()
        self.optimizer.step()
        return Losses(*(part.detach() for part in losses))
