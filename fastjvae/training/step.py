"""One training step: gather, loss, gradients, Adam, and a row of losses.

It is the same step on a CPU, on a GPU, compiled, captured in a CUDA graph, or with its batch in
parts. It reads nothing back from the device. Its inputs and results stay at their addresses, so
that a CUDA graph of it can be replayed.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fastjvae.data.batches import Batches
from fastjvae.data.batches.augment import NUMBERS, RandomAffine
from fastjvae.errors import ArgumentError
from fastjvae.functional import divergence_sums, joined_rows, latent_sample
from fastjvae.functional.batch_parts import add_up, part_of_batch
from fastjvae.functional.noise import Noise, draw_seed, drawn_noise
from fastjvae.model import JointVAE
from fastjvae.objectives import (
    LossOutput,
    Objective,
    call_if_offered,
    encode_rows,
    with_label_loss,
)
from fastjvae.training.capture import CapturedStep, capture
from fastjvae.training.device import autocast
from fastjvae.training.images import as_taken
from fastjvae.training.labelled import LabelledImages
from fastjvae.training.processes import Processes
from fastjvae.training.recorder import loss_numbers
from fastjvae.training.settings.run import Precision
from fastjvae.training.trained import Trained


class TrainingStep:
    """Takes training steps; prepares itself for each size of batch when it meets it.

    Args:
        trained: the model and all else that a step changes; the noise is the same on every process.
        batches: where images come from.
        processes: the processes that share each batch.
        say: tells the user in a sentence what the step has to do without.
        accumulate: parts of a process' images that follow one another, for less memory.
        warmup: steps in which the learning rates grow linearly to those of the optimizer.
        augment: strength of :class:`fastjvae.data.batches.augment.RandomAffine` on the images.
        precision: "bf16" runs the networks under autocast.
        compiled: whether ``torch.compile`` is asked for.
        graph: whether a CUDA graph is asked for.
        labelled: images whose labels take part in every step.
    """

    def __init__(
        self,
        trained: Trained,
        batches: Batches,
        *,
        processes: Processes,
        say: Callable[[str], None],
        accumulate: int = 1,
        warmup: int = 0,
        augment: float = 0.0,
        precision: Precision = "fp32",
        compiled: bool = False,
        graph: bool = False,
        labelled: LabelledImages | None = None,
    ) -> None:
        self.model, self.objective = trained.model, trained.objective
        self.optimizer, self.recorder = trained.optimizer, trained.recorder
        self.noise, self.device = trained.noise, trained.model.device
        # The step's number is one more than the steps taken: both are views of the counts.
        self.counts, self.step, self.number = trained.counts, trained.step, trained.number
        self.batches, self.processes, self.say = batches, processes, say
        self.accumulate, self.warmup, self.precision = accumulate, warmup, precision
        self._transform = RandomAffine(augment, self.device, self.model.dtype) if augment else None
        self._full_lr = [group["lr"] for group in self.optimizer.param_groups]
        self._lr = [torch.zeros((), device=self.device) for _ in self._full_lr]
        self.labelled = labelled
        self.loss: Any = LossModule(self.model, self.objective, labelled)
        self.in_parts = processes.world > 1 or accumulate > 1
        self.compiled, self.graph = self._possible(compiled, graph)
        if processes.world > 1:
            self.loss = _distributed(self.loss, self.device)
        if self.compiled:
            self.loss = torch.compile(self.loss, fullgraph=True)
        self._prepared: dict[torch.Size, CapturedStep | None] = {}

    def take(self, selected: Tensor, number: int) -> None:
        """Take one step on the images of a selection."""
        gathered = self.augmented(self.batches.gather(selected), self.batches.whole(number))
        images = as_taken(self.model, gathered, selected)
        known = self._known()
        self.optimizer.zero_grad(set_to_none=True)
        if self.in_parts:
            out = self._backward_in_parts(images, self.batches.whole(number), known)
        else:
            with self.autocast():
                out = self.loss(images, self.number, *self._draw_noise(len(images)), *known)
            out.loss.backward()
        if self.warmup:
            self._set_learning_rates()
        self.optimizer.step()
        pixels = {"loss": float(self.model.num_pixels)}
        self.recorder.append(loss_numbers(out), factors=pixels, counts=self.counts)

    def augmented(self, images: Tensor, whole: int) -> Tensor:
        """Transform the images of this process, each by its share of the whole batch's numbers."""
        if self._transform is None:
            return images
        uniform = torch.rand(whole, NUMBERS, generator=self.noise, device=self.device)
        own = uniform.tensor_split(self.processes.world)[self.processes.rank]
        return self._transform(images, own)

    def _known(self) -> tuple[Tensor, ...]:
        """The step's labelled images and their categories, transformed as the others are.

        Every process has all of them: they are few, and no sum has to be exchanged.
        """
        if self.labelled is None:
            return ()
        images, categories = self.labelled.batch()
        if self._transform is not None:
            shape = (len(images), NUMBERS)
            uniform = torch.rand(shape, generator=self.noise, device=self.device)
            images = self._transform(images, uniform)
        return images, categories

    def _set_learning_rates(self) -> None:
        """This step's learning rates, in tensors that stay in place; a checkpoint brings others."""
        for group, full, lr in zip(
            self.optimizer.param_groups, self._full_lr, self._lr, strict=True
        ):
            share = torch.div(self.number, self.warmup, out=lr).clamp_(max=1.0)
            group["lr"] = share.mul_(full)

    def _backward_in_parts(
        self, images: Tensor, whole: int, known: tuple[Tensor, ...]
    ) -> LossOutput:
        """Gradients of the whole batch's loss, of which these images are this process' part.

        The last part has the labelled images beside it.
        """
        world, rank = self.processes.world, self.processes.rank
        # The noise is drawn for the whole batch on every process: it is then the same whatever the
        # number of processes, and so are their generators.
        normal, uniform = (t.tensor_split(world)[rank] for t in self._noise_tensors(whole))
        split = [t.tensor_split(self.accumulate) for t in (images, normal, uniform)]
        parts = list(zip(*split, strict=True))
        first = rank * (whole // world) + min(rank, whole % world)  # image of the whole batch
        sums = rows = None
        if len(parts) > 1:
            sums, rows = self._look_ahead(parts, first, whole)
        outs: list[LossOutput] = []
        for own, n, u in parts:
            more = len(outs) < len(parts) - 1
            among = part_of_batch(whole, sums=sums, rows=rows, first=first)
            with among, self._without_exchange(more), self.autocast():
                beside = () if more else (None, None, *known)
                outs.append(self.loss(own, self.number, n, u, *beside))
                outs[-1].loss.backward()  # type: ignore[no-untyped-call]
            first += len(own)
        # Every part's loss has its own share of the reconstruction, and the whole batch's rest.
        rest = [out.reconstruction for out in outs[:-1]]
        reconstruction = sum(rest, outs[-1].reconstruction)
        loss = outs[-1].loss.detach() + sum(rest) / self.model.num_pixels
        return outs[-1]._replace(loss=loss, reconstruction=reconstruction)

    @torch.no_grad()
    def _look_ahead(
        self, parts: list[tuple[Tensor, ...]], first: int, whole: int
    ) -> tuple[Tensor, Tensor]:
        """The whole batch's sums of divergences and its rows, which each part needs."""
        model, sums, own = self.model, [], []
        for images, normal, uniform in parts:
            noise = Noise(normal, uniform)
            with self.autocast():
                params, *compared = encode_rows(self.objective, model, images)
                sample = latent_sample(
                    params, model.spec, model.temperature, noise, training=model.training
                )
            sums.append(divergence_sums(params, model.spec))
            own.append(joined_rows(params, sample, *compared))
        found = torch.cat(own)
        rows = found.new_zeros(whole, found.shape[1])
        rows[first : first + len(found)] = found
        world = self.processes.world
        return add_up(torch.stack(sums).sum(dim=0), world), add_up(rows, world)

    def _draw_noise(self, rows: int) -> Noise:
        if not self.compiled:
            return Noise(generator=self.noise)
        if self.device.type == "cuda":  # torch.compile does not trace a generator
            return Noise(seed=draw_seed(self.device, self.noise))
        return Noise(*self._noise_tensors(rows))

    def _noise_tensors(self, rows: int) -> tuple[Tensor, Tensor]:
        spec = self.model.spec
        return drawn_noise(rows, spec.cont, spec.num_categories, self.device, generator=self.noise)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision that the networks compute in."""
        return autocast(self.device, self.precision)

    def _without_exchange(self, more: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once, with those of the last part."""
        return self.loss.no_sync() if more and self.processes.world > 1 else nullcontext()

    # --- compiled and captured --------------------------------------------------------------------

    def __call__(self, number: int) -> None:
        """Take step ``number``, counted from 0, as it was compiled or captured."""
        selected = self.batches.select(number)
        if self.labelled is not None:
            self.labelled.begin(number)
        if selected.shape not in self._prepared:
            self._prepared[selected.shape] = self._prepare(selected, number)
        if graph := self._prepared[selected.shape]:
            graph.replay(selected)
            self.recorder.count()
        else:
            self.take(selected, number)

    def _possible(self, compiled: bool, graph: bool) -> tuple[bool, bool]:
        """Whether this run can be compiled and whether captured; says what cannot, and why."""
        graph = graph and self.device.type == "cuda"
        if compiled and self.in_parts:
            self.say("torch.compile takes whole batches: this run trains without it")
            compiled = False
        if graph and self.processes.world > 1:
            self.say("a CUDA graph takes one process: this run trains without it")
            graph = False
        return compiled, graph

    def _prepare(self, selected: Tensor, number: int) -> CapturedStep | None:
        """Compile and capture for selections of one shape; everything is then as before."""
        if self.compiled:
            try:
                with self._unchanged():
                    self.take(selected, number)
            except Exception as error:  # compilers fail in ways of their own, assertions too
                self._go_on_without("torch.compile", error)
                self.compiled = False
                self.loss = LossModule(self.model, self.objective, self.labelled)
        if self.graph:
            try:
                return self._capture(selected, number)
            except Exception as error:
                self._go_on_without("a CUDA graph", error)
                self.graph = False
        return None

    def _go_on_without(self, what: str, error: Exception) -> None:
        reason = str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
        self.say(f"training goes on without {what}: {reason}")
        self.optimizer.zero_grad(set_to_none=True)

    def _capture(self, selected: Tensor, number: int) -> CapturedStep:
        written = self.recorder.written
        try:
            return capture(
                lambda chosen: self.take(chosen, number),
                selected,
                unchanged=self._unchanged,
                generators=[self.noise],
            )
        finally:
            self.recorder.forget(written)  # a capture computes nothing

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Put parameters, optimizer, objective, random numbers and losses back afterwards."""
        tensors = [
            *(p for group in self.optimizer.param_groups for p in group["params"]),
            *self.model.buffers(),
            self.counts,
        ]
        before = [tensor.detach().clone() for tensor in tensors]
        moments = {p: copy.deepcopy(state) for p, state in self.optimizer.state.items()}
        objective = copy.deepcopy(call_if_offered(self.objective, "state_dict"))
        noise, written = self.noise.get_state(), self.recorder.written
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                yield
            finally:
                with torch.no_grad():
                    for tensor, value in zip(tensors, before, strict=True):
                        tensor.copy_(value)
                    for p, state in self.optimizer.state.items():
                        for name, value in state.items():
                            # A state that the warm-up made begins with zeros.
                            if p in moments:
                                value.copy_(moments[p][name])
                            else:
                                value.zero_()
                if objective is not None:
                    call_if_offered(self.objective, "load_state_dict", objective)
                self.noise.set_state(noise)
                self.recorder.forget(written)


class LossModule(nn.Module):
    """:meth:`JointVAE.loss` as a forward pass, where DistributedDataParallel and others want it.

    ``labelled`` are the images whose categories a call may have, too.
    """

    def __init__(
        self, model: JointVAE, objective: Objective, labelled: LabelledImages | None = None
    ) -> None:
        super().__init__()
        self.model, self.labelled = model, labelled
        self.objective = objective  # a submodule if it is a module

    def forward(
        self,
        images: Tensor,
        step: int | Tensor,
        normal: Tensor | None = None,
        uniform: Tensor | None = None,
        seed: int | Tensor | None = None,
        generator: torch.Generator | None = None,
        known: Tensor | None = None,
        categories: Tensor | None = None,
    ) -> LossOutput:
        out = self.model.loss(images, step, self.objective, normal, uniform, seed, generator)
        if self.labelled is None or known is None or categories is None:
            return out
        variable, weight = self.labelled.variable, self.labelled.weight
        return with_label_loss(out, self.model, known, categories, variable, weight)


def _distributed(loss: LossModule, device: torch.device) -> DistributedDataParallel:
    own = call_if_offered(loss.objective, "parameter_groups")
    if own and not isinstance(loss.objective, nn.Module):
        raise ArgumentError(
            "an objective with parameters must be a torch.nn.Module for several processes to train"
            f" it, {type(loss.objective).__name__} is none"
        )
    return DistributedDataParallel(
        loss,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )
