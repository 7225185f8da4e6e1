"""JointVAE with Lightning Fabric, which places model and data and starts the processes.

python docs/examples/with_fabric.py --steps 500
python docs/examples/with_fabric.py --steps 500 --devices 2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from lightning_fabric import Fabric  # in the whole of Lightning: from lightning.fabric
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from fastjvae import Capacity, JointObjective, JointVAE
from fastjvae.data import DataSource, load
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.training.step import LossModule


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="JointVAE with Lightning Fabric")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--log-every", type=int, default=50, help="steps")
    parser.add_argument("--out", type=Path, default=Path("runs/with-fabric"), help="folder")
    parser.add_argument("--cpu", action="store_true", help="also where there is a GPU")
    parser.add_argument("--devices", type=int, default=1, help="one process each")
    args = parser.parse_args(argv)

    fabric = Fabric(accelerator="cpu" if args.cpu else "auto", devices=args.devices)
    fabric.launch()
    rank, world, device = fabric.global_rank, fabric.world_size, fabric.device

    torch.manual_seed(0)
    digits = TensorDataset(load(DataSource("digits")).images)  # (1497, 1, 32, 32) uint8
    sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(
        digits, world, rank, drop_last=True
    )
    loader = fabric.setup_dataloaders(
        DataLoader(digits, args.batch_size // world, sampler=sampler, drop_last=True)
    )
    model = JointVAE((1, 32, 32), {"cont": 10, "disc": [10]})
    capacity = Capacity(0.0, 5.0, 25_000, 30.0)
    adam = torch.optim.Adam(model.parameters(), lr=5e-4)
    loss, adam = fabric.setup(LossModule(model, JointObjective(cont=capacity, disc=capacity)), adam)

    # Every process draws the noise of the whole batch and takes that of its own images: then no two
    # images have the same noise, and any number of processes trains alike.
    same = torch.Generator(device).manual_seed(0)
    batches = chain.from_iterable(repeat(loader))  # epoch after epoch
    for step, (images,) in enumerate(islice(batches, args.steps), 1):
        size = len(images) * world
        normal = torch.randn(size, model.latent_cont_dim, device=device, generator=same)
        uniform = torch.rand(size, model.latent_disc_dim, device=device, generator=same)
        mine = slice(rank, None, world)  # as the sampler deals the images out
        # The capacity loss |KL - C(t)| is of the KL of the whole batch, which no process has alone.
        with part_of_batch(size):
            out = loss(images, step, normal[mine], uniform[mine])
        adam.zero_grad()
        fabric.backward(out.loss)
        adam.step()
        if step % args.log_every == 0:  # the numbers are the whole batch's
            kl = out.kl_cont.sum() + out.kl_disc.sum()
            fabric.print(f"step {step}: reconstruction {out.reconstruction:.6g}, KL {kl:.6g} nats")

    if fabric.is_global_zero:
        model.save_pretrained(args.out)


if __name__ == "__main__":
    main()
