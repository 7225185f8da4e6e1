"""JointVAE with Accelerate, which places model and data on the devices of one or more processes.

python docs/examples/with_accelerate.py --steps 500
torchrun --nproc-per-node 2 docs/examples/with_accelerate.py --steps 500
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch.utils.data import DataLoader, TensorDataset

from fastjvae import Capacity, JointObjective, JointVAE
from fastjvae.data import DataSource, load
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.training.step import LossModule


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="JointVAE with Accelerate")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--log-every", type=int, default=50, help="steps")
    parser.add_argument("--out", type=Path, default=Path("runs/with-accelerate"), help="folder")
    parser.add_argument("--cpu", action="store_true", help="also where there is a GPU")
    args = parser.parse_args(argv)

    # A batch of the loader is the whole one, of which every process gets its rows.
    split = DataLoaderConfiguration(split_batches=True, use_seedable_sampler=True, data_seed=0)
    # On a CPU Accelerate takes each of torchrun's processes for the only one unless cpu is set.
    cpu = args.cpu or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=cpu, dataloader_config=split)
    world, device = accelerator.num_processes, accelerator.device

    torch.manual_seed(0)
    digits = TensorDataset(load(DataSource("digits")).images)  # (1497, 1, 32, 32) uint8
    model = JointVAE((1, 32, 32), {"cont": 10, "disc": [10]})
    capacity = Capacity(0.0, 5.0, 25_000, 30.0)
    loss, adam, loader = accelerator.prepare(
        LossModule(model, JointObjective(cont=capacity, disc=capacity)),
        torch.optim.Adam(model.parameters(), lr=5e-4),
        DataLoader(digits, args.batch_size, shuffle=True, drop_last=True),
    )

    # Every process draws the noise of the whole batch and takes that of its own images: then no two
    # images have the same noise, and any number of processes trains alike.
    same = torch.Generator(device).manual_seed(0)
    batches = chain.from_iterable(repeat(loader))  # epoch after epoch
    for step, (images,) in enumerate(islice(batches, args.steps), 1):
        size = len(images) * world
        normal = torch.randn(size, model.latent_cont_dim, device=device, generator=same)
        uniform = torch.rand(size, model.latent_disc_dim, device=device, generator=same)
        # The capacity loss |KL - C(t)| is of the KL of the whole batch, which no process has alone.
        with (
            part_of_batch(size),
            accelerator.split_between_processes({"normal": normal, "uniform": uniform}) as noise,
        ):
            out = loss(images, step, **noise)
        adam.zero_grad()
        accelerator.backward(out.loss)
        adam.step()
        if step % args.log_every == 0:  # the numbers are the whole batch's
            kl = out.kl_cont.sum() + out.kl_disc.sum()
            accelerator.print(
                f"step {step}: reconstruction {out.reconstruction:.6g}, KL {kl:.6g} nats"
            )

    if accelerator.is_main_process:
        model.save_pretrained(args.out)
    accelerator.end_training()


if __name__ == "__main__":
    main()
