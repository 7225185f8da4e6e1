"""JointVAE in a training loop of one's own, in plain PyTorch.

python docs/examples/own_loop.py --steps 500
torchrun --nproc-per-node 2 docs/examples/own_loop.py --steps 500
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fastjvae import Capacity, JointObjective, JointVAE
from fastjvae.data import DataSource, load
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.training.step import LossModule


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="JointVAE in a training loop of one's own")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--log-every", type=int, default=50, help="steps")
    parser.add_argument("--out", type=Path, default=Path("runs/own-loop"), help="folder")
    parser.add_argument("--cpu", action="store_true", help="also where there is a GPU")
    args = parser.parse_args(argv)

    rank, local, world = (  # what torchrun says
        int(os.environ.get(name, default))
        for name, default in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items()
    )
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    if device == "cuda":
        torch.cuda.set_device(local)
    if world > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")

    torch.manual_seed(0)
    images = load(DataSource("digits")).images.to(device)  # (1497, 1, 32, 32) uint8
    model = JointVAE((1, 32, 32), {"cont": 10, "disc": [10]}).to(device)
    capacity = Capacity(0.0, 5.0, 25_000, 30.0)
    loss: nn.Module = LossModule(model, JointObjective(cont=capacity, disc=capacity))
    if world > 1:
        loss = DistributedDataParallel(loss)
    adam = torch.optim.Adam(model.parameters(), lr=5e-4)

    # Every process draws the choice of images and the noise of the whole batch and takes its share
    # of both: then no two images have the same noise, and any number of processes trains alike.
    same = torch.Generator(device).manual_seed(0)
    size = args.batch_size
    for step in range(1, args.steps + 1):
        chosen = torch.randint(len(images), (size,), device=device, generator=same)
        normal = torch.randn(size, model.latent_cont_dim, device=device, generator=same)
        uniform = torch.rand(size, model.latent_disc_dim, device=device, generator=same)
        mine, normal, uniform = (t.tensor_split(world)[rank] for t in (chosen, normal, uniform))
        # The capacity loss |KL - C(t)| is of the KL of the whole batch, which no process has alone.
        with part_of_batch(size):
            out = loss(images[mine], step, normal, uniform)
        adam.zero_grad()
        out.loss.backward()
        adam.step()
        if rank == 0 and step % args.log_every == 0:  # the numbers are the whole batch's
            kl = out.kl_cont.sum() + out.kl_disc.sum()
            print(f"step {step}: reconstruction {out.reconstruction:.6g}, KL {kl:.6g} nats")

    if rank == 0:
        model.save_pretrained(args.out)
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
