"""Training of InfoGAN: its networks and step, for :mod:`fastjvae.training.loop`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.functional import unit_interval
from fastjvae.functional.weights import Seeded
from fastjvae.model import JointVAE
from fastjvae.training.device import autocast
from fastjvae.training.infogan.losses import InfoGAN
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.loop import TrainingLoop
from fastjvae.training.processes import Processes
from fastjvae.training.recorder import Recorder
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trained import Prepared, Record, Trained

_BETAS = (0.5, 0.999)  # of Adam, as in DCGAN (Radford et al. 2016), whose training InfoGAN follows

SCALARS = (  # of metrics.jsonl; both losses are with - lambda L_I, and L_I is in nats
    "discriminator_loss",
    "generator_loss",
    "discriminator_accuracy",
    "information_cont",
    "information_disc",
)


class InfoGANTrainer(TrainingLoop):
    """Trains InfoGAN in a run folder; goes on from the folder's checkpoint if there is one.

    The model that it saves at the end is a JointVAE: the generator as decoder, Q as encoder.

    Arguments and errors are as for :class:`fastjvae.training.Trainer`. It trains in one process,
    several are an ArgumentError.
    """

    def __init__(
        self,
        config: InfoGANConfig,
        data: ImageData | DataLoader[Any],
        run: RunFolder,
        *,
        resuming: bool = False,
        processes: Processes | None = None,
        held_out: ImageData | None = None,
    ) -> None:
        if processes is not None and processes.world > 1:
            raise ArgumentError(f"InfoGAN trains in one process, got {processes.world}")
        super().__init__(config, data, run, processes, held_out=held_out)
        with Seeded(config.seed):
            model = self.on_device(JointVAE(self.batches.img_size, config.spec))
        self.begin(model, self._prepared, _summary, resuming=resuming)

    def _prepared(self, config: InfoGANConfig) -> Prepared:
        """What trains the networks."""
        model = self.model
        with Seeded(config.seed):
            gan = InfoGAN(model, config.codes, config.disc_information, config.cont_information).to(
                self.device
            )
        self.judges = [*model.encoder.parameters(), *gan.parameters()]
        optimizer = torch.optim.Adam(
            [
                {"params": list(model.decoder.parameters()), "lr": config.generator_lr},
                {"params": self.judges, "lr": config.discriminator_lr},
            ],
            betas=_BETAS,
            fused=self.device.type in ("cpu", "cuda"),
        )
        recorder = Recorder(dict.fromkeys(SCALARS), self.rows)
        return Prepared(Trained(model, gan, optimizer, recorder, self.noise), self._take)

    def _take(self, number: int) -> None:
        """One update of discriminator and Q, then one of the generator, with codes of its own."""
        images = self.batches.gather(self.batches.select(number))
        real = unit_interval(images, self.model.dtype)
        inputs = self.model.prior_sample(len(real), self.noise)
        with torch.no_grad():
            generated = self._generate(inputs)
        with self._autocast():
            own, right = self.objective.discriminator_loss(self.model, real, generated, inputs)
        self._update(own)

        inputs = self.model.prior_sample(len(real), self.noise)
        with _constant(self.judges):
            generated = self._generate(inputs)
            with self._autocast():
                loss, cont, disc = self.objective.generator_loss(self.model, generated, inputs)
            self._update(loss)
        numbers = dict(zip(SCALARS, (own, loss, right, cont, disc), strict=True))
        self.recorder.append(numbers, counts=self.trained.counts)

    def _generate(self, inputs: Tensor) -> Tensor:
        with self._autocast():
            logits = self.model.decode_logits(inputs)
        return logits.to(inputs.dtype).sigmoid()

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)  # Adam passes over what has no gradient
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.device, self.precision)


def _summary(record: Record) -> str:
    return (
        f"discriminator {record['discriminator_loss']:.2f}"
        f", right {100 * record['discriminator_accuracy']:.0f}%"
        f"  generator {record['generator_loss']:.2f}"
        f"  I_z {record['information_cont']:.2f}  I_c {record['information_disc']:.2f}"
        f"  {record['images_per_s']:,.0f} images/s"
    )


@contextmanager
def _constant(parameters: list[nn.Parameter]) -> Iterator[None]:
    """No gradient by these inside, which spares computing it."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
