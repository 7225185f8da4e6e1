"""The JointVAE model: a convolutional encoder and decoder around joint latent variables."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.checks import check_temperature, check_unit_interval
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.noise import Noise, check_generator, prior_sample
from fastjvae.model.chain import Networks, obstacle_to
from fastjvae.model.evaluating import AT_ONCE, evaluating
from fastjvae.model.given import images_for
from fastjvae.model.likelihood import Likelihood, OfImages, Scale
from fastjvae.model.networks import (
    HIDDEN_DIM,
    Decoder,
    Encoder,
    check_networks,
    checked_img_size,
)
from fastjvae.model.own_networks import Network, offers_head, own_networks
from fastjvae.model.pretrained import Saved
from fastjvae.model.published_names import PublishedNames
from fastjvae.objectives import LossOutput, Objective, paper_mnist


class JointVAE(OfImages, PublishedNames, Saved):
    """VAE with Gaussian and categorical latent variables, a drop-in for the published class.

    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 10, "disc": [10]})
    >>> images = torch.rand(8, 1, 32, 32)
    >>> reconstruction, latent_dist = model(images)
    >>> reconstruction.shape, [tuple(p.shape) for p in latent_dist["disc"]]
    (torch.Size([8, 1, 32, 32]), [(8, 10)])
    >>> model.loss(images, step=1).loss.backward()

    Args:
        img_size: (C, H, W); H and W divisible by 4 and at least 16, any C.
        latent_spec: ``{'cont': int, 'disc': [int, ...]}``, either may be absent; or a LatentSpec.
        temperature: tau of the Gumbel-softmax; a scalar tensor on the model's device may be
            changed in place during training.
        use_cuda: kept for the published interface; moves the model to the GPU.
        encoder: own network from images (N, C, H, W) in [0, 1] to parameter rows (N, P): a module,
            or the name of its class, "nets:ResNet". The class is called with what it names of
            ``img_size``, ``latent_spec``, ``num_params`` (P) and ``sample_dim`` (L).
        decoder: own network from sample rows (N, L) to logits of the pixels (N, C, H, W), likewise.
            With own networks any size is allowed.
        encoder_args, decoder_args: further arguments of a class that is named; of JSON's types.
        likelihood: of the pixels: "bernoulli", or "gaussian".
        scale: the Gaussian's standard deviation, in the unit of the images, or "learned".
        value_range: of the Gaussian's pixels; images lie in it wherever 0..1 is said here.

    Attributes, as in the published class: ``img_size``, ``latent_spec``, ``is_continuous``,
    ``is_discrete``, ``latent_cont_dim``, ``latent_disc_dim``, ``num_disc_latents``, ``latent_dim``,
    ``num_pixels``, ``temperature``, ``hidden_dim``, ``reshape``, ``use_cuda``.

    Raises:
        ArgumentError: the specification is impossible; the standard networks do not fit the image
            size, the message names the nearest sizes that do; an own network returns other shapes
            for two images of zeros, or cannot be made.
    """

    def __init__(
        self,
        img_size: Sequence[int],
        latent_spec: Mapping[str, Any] | LatentSpec,
        temperature: float | Tensor = 0.67,
        use_cuda: bool = False,
        *,
        encoder: Network | None = None,
        decoder: Network | None = None,
        encoder_args: Mapping[str, Any] | None = None,
        decoder_args: Mapping[str, Any] | None = None,
        likelihood: Likelihood = "bernoulli",
        scale: Scale = 1.0,
        value_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.img_size = checked_img_size(img_size)
        self.spec = LatentSpec.from_dict(latent_spec)
        check_temperature(temperature)
        check_networks(self.img_size, self.spec, encoder is None, decoder is None)
        self.temperature = temperature
        self.use_cuda = use_cuda
        self.latent_spec = (
            latent_spec.to_dict() if isinstance(latent_spec, LatentSpec) else latent_spec
        )
        self.is_continuous = self.spec.cont > 0
        self.is_discrete = len(self.spec.disc) > 0
        self.latent_cont_dim = self.spec.cont
        self.latent_disc_dim = self.spec.num_categories
        self.num_disc_latents = len(self.spec.disc)
        self.latent_dim = self.spec.sample_dim
        self.num_pixels = self.img_size[1] * self.img_size[2]
        self.hidden_dim = HIDDEN_DIM
        own = own_networks(self.img_size, self.spec, encoder, decoder, encoder_args, decoder_args)
        self.own_networks = own.entries
        params, sample = self.spec.num_params, self.spec.sample_dim
        self.encoder = Encoder(self.img_size, params) if own.encoder is None else own.encoder
        self.decoder = Decoder(self.img_size, sample) if own.decoder is None else own.decoder
        self.reshape = self.decoder.shape if isinstance(self.decoder, Decoder) else None
        self.set_likelihood(likelihood, scale, value_range)
        if use_cuda:
            self.cuda()

    # --- the published interface ------------------------------------------------------------------

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Encode, sample and decode: (reconstruction in [0, 1], parameters of the latents).

        Args:
            x: (N, C, H, W), uint8 0..255 or floats 0..1.

        Returns:
            The reconstruction (N, C, H, W), contiguous, and
            ``{'cont': [mean, logvar], 'disc': [alpha_1, ...]}`` with probabilities alpha;
            without continuous units or discrete variables their key is missing.
        """
        params = self.encode_params(x)
        sample = functional.latent_sample(
            params, self.spec, self.temperature, training=self.training
        )
        return self.decode(sample), self._distribution(params)

    def encode(self, x: Tensor) -> dict[str, list[Tensor]]:
        """Return the parameters of the latents of images, as :meth:`forward` does."""
        return self._distribution(self.encode_params(x))

    def reparameterize(self, latent_dist: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """Sample rows (N, L) from parameters as :meth:`encode` returns them.

        Relaxed samples in training mode; means and one-hot categories in evaluation mode.
        """
        params = [*latent_dist["cont"]] if self.is_continuous else []
        if self.is_discrete:
            params += [
                alpha.clamp_min(torch.finfo(alpha.dtype).tiny).log()
                for alpha in latent_dist["disc"]
            ]
        return functional.latent_sample(
            torch.cat(params, dim=1), self.spec, self.temperature, training=self.training
        )

    def decode(self, latent_sample: Tensor) -> Tensor:
        """Sample rows (N, L) -> images (N, C, H, W) in the value range, contiguous.

        Gradients pass through it: for pictures alone :meth:`sample` and ``fastjvae.model.edit``
        have none, and so has this under ``torch.no_grad()``.
        """
        pictures = self.pictures(self.decode_logits(latent_sample))
        return self.in_value_range(pictures).contiguous()

    # --- rows -------------------------------------------------------------------------------------

    def encode_params(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 0..255 or floats 0..1 -> parameter rows (N, P)."""
        params: Tensor = self.encoder(self._encoder_input(x))
        if tuple(params.shape) != (x.shape[0], self.spec.num_params):
            raise ArgumentError(
                f"the encoder must return {(x.shape[0], self.spec.num_params)} parameters for"
                f" {self.spec.to_dict()}, it returned {tuple(params.shape)}"
            )
        return params

    def encode_mean(self, x: Any) -> Tensor:
        """Images -> means of the continuous units (N, Z), in evaluation mode without gradients.

        Args:
            x: in any form that :func:`fastjvae.fit` takes: (N, C, H, W), (N, H, W, C) or, grey,
                (N, H, W), uint8 0..255 or floats 0..1, torch on any device or numpy; or PIL images.

        Returns:
            float32 on the CPU, so that numpy takes it.

        Raises:
            ArgumentError, DataError: the images have another form, size or range.
        """
        return self._evaluated_rows(x)[:, self.spec.mean].float()

    def encode_categories(self, x: Any) -> Tensor:
        """Images as for :meth:`encode_mean` -> most probable categories (N, D), int64, on the CPU.

        Of equally probable ones it is the first.
        """
        rows = self._evaluated_rows(x)
        found = [rows[:, logits].argmax(dim=1) for logits in self.spec.logits]
        return torch.stack(found, dim=1) if found else rows.new_zeros((len(rows), 0)).long()

    def _evaluated_rows(self, x: Any) -> Tensor:
        """Parameter rows of any number of images in evaluation mode, on the CPU."""
        with evaluating(self):
            batches = torch.split(images_for(self, x), AT_ONCE)
            return torch.cat([self.encode_params(b.to(self.device)).cpu() for b in batches])

    def encode_hidden(self, x: Tensor) -> Tensor:
        """Images as for :meth:`encode_params` -> what the encoder's head reads, (N, F).

        ``model.encoder.head`` of it are the parameter rows. F is 256 of the standard encoder.

        Raises:
            ArgumentError: the model has an encoder of its own without ``hidden_features``.
        """
        encoder: Any = self.encoder
        if not offers_head(encoder):
            raise ArgumentError(
                "the encoder must have hidden_features and a head, as the standard one has, but"
                f" the model has its own, a {type(encoder).__name__}"
            )
        return encoder.hidden_features(self._encoder_input(x))  # type: ignore[no-any-return]

    def _encoder_input(self, x: Tensor) -> Tensor:
        _check_tensor("images", x)
        if x.dim() != 4 or tuple(x.shape[1:]) != self.img_size:
            raise ArgumentError(
                f"the model takes images of shape (N, {', '.join(map(str, self.img_size))}),"
                f" got {tuple(x.shape)}"
            )
        if not (x.dtype == torch.uint8 or x.is_floating_point()):
            raise ArgumentError(
                f"images must be uint8 (0..255) or floating point (0..1), got {x.dtype}"
            )
        images = self.unit_interval(x, self.dtype)
        return images.contiguous() if "encoder" in self.own_networks else images

    def decode_logits(self, latent_sample: Tensor) -> Tensor:
        """Sample rows (N, L) -> logits of the pixels (N, C, H, W), in any memory layout."""
        _check_tensor("a sample", latent_sample)
        if latent_sample.dim() != 2 or latent_sample.shape[1] != self.latent_dim:
            raise ArgumentError(
                f"a sample of this model has shape (N, {self.latent_dim}),"
                f" got {tuple(latent_sample.shape)}"
            )
        logits: Tensor = self.decoder(latent_sample)
        if tuple(logits.shape[1:]) != self.img_size:
            raise ArgumentError(
                f"the decoder must return images of shape {self.img_size},"
                f" it returned {tuple(logits.shape[1:])}"
            )
        return logits

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Decode ``n`` draws from the prior: (n, C, H, W) in [0, 1]; ArgumentError below 0."""
        return self.decode(self.prior_sample(n, generator))

    @torch.no_grad()
    def prior_sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw sample rows (n, L) from the prior: normal units, uniform one-hot categories."""
        check_generator(generator, self.device)
        return prior_sample(self.spec, n, generator, self.device, self.dtype)

    def loss(
        self,
        x: Tensor,
        step: int | Tensor,
        objective: Objective | None = None,
        normal: Tensor | None = None,
        uniform: Tensor | None = None,
        seed: int | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> LossOutput:
        """Return the training loss of a batch and its parts.

        Args:
            x: (N, C, H, W), uint8 0..255 or floats 0..1.
            step: training step, counted from 1; an int or an int64 tensor on the model's device.
            objective: by default the paper's for MNIST (capacities 0 -> 5 nats in 25,000 steps).
            normal, uniform, seed, generator: the noise, see :mod:`fastjvae.functional`;
                ``normal`` is (N, Z), ``uniform`` (N, sum K) in [0, 1). In evaluation mode the
                evaluation sample (mean, one-hot) is used and no noise is drawn.

        Returns:
            :class:`fastjvae.LossOutput`; call ``.loss.backward()``.

        Raises:
            ArgumentError: on a CPU, floating images outside 0..1; the objective returns something
                else; shapes, types or devices do not fit.
        """
        _check_tensor("images", x)
        objective = paper_mnist(self.spec) if objective is None else objective
        if x.device.type == "cpu":
            if x.dtype == torch.uint8:
                # Once for encoder and target; a GPU reads a quarter of the bytes twice instead.
                x = self.in_value_range(functional.unit_interval(x, self.dtype))
            else:
                check_unit_interval(x, self.value_range)
        out = objective.loss(self, x, step, Noise(normal, uniform, seed, generator))
        if not isinstance(out, LossOutput):
            raise ArgumentError(
                f"the loss of an objective must be a LossOutput, whose first value is what backward"
                f" is called on, {type(objective).__name__} has returned a {type(out).__name__}"
            )
        return out

    def use_networks(self, networks: Networks) -> None:
        """Choose how the standard networks take training steps; own modules run as they are.

        Args:
            networks: "modules", PyTorch's; or "triton", cuDNN and cuBLAS with hand-written Triton
                kernels between them and the backward pass by hand, for float32 parameters on a
                CUDA or HIP device. Without gradients, under :func:`fastjvae.backend` "reference" or
                "cpu", and where a layer was changed or has a hook, modules run all the same.

        Raises:
            BackendError: the kernels cannot run on the model's device; the message says why.
        """
        if reason := obstacle_to(networks, next(self.parameters())):
            raise BackendError(f"networks={networks!r} was asked for, but {reason}")
        for network in (self.encoder, self.decoder):
            if isinstance(network, (Encoder, Decoder)):
                network.networks = networks

    def _distribution(self, params: Tensor) -> dict[str, list[Tensor]]:
        latent_dist: dict[str, list[Tensor]] = {}
        if self.is_continuous:
            latent_dist["cont"] = [params[:, self.spec.mean], params[:, self.spec.logvar]]
        if self.is_discrete:
            latent_dist["disc"] = [params[:, logits].softmax(dim=1) for logits in self.spec.logits]
        return latent_dist


def _check_tensor(what: str, given: object) -> None:
    if not isinstance(given, Tensor):
        raise ArgumentError(
            f"{what} must be a tensor here, got a value of type {type(given).__name__}: give"
            f" torch.as_tensor of it; encode_mean, encode_categories and edit take arrays of images"
        )
