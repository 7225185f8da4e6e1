"""Batches: the same from memory and from disk, at any step, in parts; and those of a DataLoader."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
)

from fastjvae.data import memory
from fastjvae.data.batches import (
    Batches,
    LoaderBatches,
    ResidentBatches,
    StreamedBatches,
    batches_of,
)
from fastjvae.data.batches import images as in_one_array
from fastjvae.data.batches.order import Order
from fastjvae.errors import ArgumentError, DataError

CPU = torch.device("cpu")
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (23, 3, 4, 6), np.uint8))
BOTH = pytest.mark.parametrize("kind", [ResidentBatches, StreamedBatches])
Kind = type[ResidentBatches] | type[StreamedBatches]


def get(batches: Batches, *steps: int) -> list[Tensor]:
    return [batches.gather(batches.select(step)) for step in steps]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


# In memory and from disk.


@BOTH
@pytest.mark.parametrize("batch_size", [1, 5, 23, 24])
def test_batches_are_slices_of_the_epochs_permutations(kind: Kind, batch_size: int) -> None:
    expected: list[Tensor] = []
    for epoch in range(3):
        generator = torch.Generator().manual_seed(7 * 1_000_003 + epoch)
        order = torch.randperm(23, generator=generator)
        expected += [IMAGES[part] for part in order.split(batch_size)]
    with kind(IMAGES, batch_size, 7, CPU) as batches:
        assert (batches.images, batches.img_size) == (23, (3, 4, 6))
        assert batches.steps_per_epoch * 3 == len(expected)
        assert same(get(batches, *range(len(expected))), expected)


def test_resident_selections_are_indices_and_images_are_not_copied() -> None:
    batches = ResidentBatches(IMAGES, 5, 7, CPU)
    selected = batches.select(4)
    assert (selected.dtype, selected.shape) == (torch.int64, (3,))
    assert batches._pixels.data_ptr() == IMAGES.data_ptr()


@BOTH
def test_any_step_can_be_asked_for_next(kind: Kind) -> None:
    steps = [0, 1, 12, 13, 2, 2, 3, 99, 4]
    with kind(IMAGES, 5, 1, CPU) as batches:
        fresh = [get(kind(IMAGES, 5, 1, CPU), step)[0] for step in steps]
        assert same(get(batches, *steps), fresh)


@BOTH
@pytest.mark.parametrize("last", [[2], [1, 1], [1, 1, 0], [1, 1, 0, 0]])
def test_processes_share_each_batch(kind: Kind, last: list[int]) -> None:
    world = len(last)
    steps = range(2 * 4)  # batches of 7, 7, 7 and 2 images
    whole = get(ResidentBatches(IMAGES, 7, 3, CPU), *steps)
    ranks = [get(kind(IMAGES, 7, 3, CPU, rank, world), *steps) for rank in range(world)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat(parts), batch)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert [len(part[3]) for part in ranks] == last


def test_a_batch_stays_as_it_was_given() -> None:
    with StreamedBatches(IMAGES, 5, 0, CPU) as batches:
        first = batches.select(0)
        before = first.clone()
        get(batches, *range(1, 50))
        assert torch.equal(first, before)


def test_no_more_than_a_few_batches_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    indices = Order.indices
    monkeypatch.setattr(
        Order, "indices", lambda self, step: asked.append(step) or indices(self, step)
    )
    batches = StreamedBatches(IMAGES, 5, 0, CPU)
    batches.select(0)
    batches.select(1)
    batches._reader.shutdown()  # waits for what is under way
    assert asked == list(range(2 + in_one_array._AHEAD))


def test_error_of_the_reader_comes_out_of_select(monkeypatch: pytest.MonkeyPatch) -> None:
    take = np.take
    broken = True

    def take_or_fail(*args: Any, **options: Any) -> Any:
        if broken:
            raise OSError("the disk is gone")
        return take(*args, **options)

    monkeypatch.setattr(np, "take", take_or_fail)
    with StreamedBatches(IMAGES, 5, 0, CPU) as batches:
        with pytest.raises(OSError, match="the disk is gone"):
            batches.select(3)
        broken = False
        assert torch.equal(batches.select(3), get(ResidentBatches(IMAGES, 5, 0, CPU), 3)[0])


def test_close_ends_the_thread() -> None:
    def readers() -> int:
        return sum(thread.name.startswith("fastjvae-batches") for thread in threading.enumerate())

    before = readers()
    with StreamedBatches(IMAGES, 5, 0, CPU) as batches:
        batches.select(0)
        assert readers() == before + 1
    assert readers() == before
    batches.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        batches.select(1)
    ResidentBatches(IMAGES, 5, 0, CPU).close()


@BOTH
@pytest.mark.parametrize(
    ("images", "arguments", "parts"),
    [
        (IMAGES.float(), {}, ["torch.uint8 of shape (N, C, H, W)", "got torch.float32"]),
        (IMAGES[0], {}, ["not empty", "of shape [3, 4, 6]"]),
        (IMAGES[:0], {}, ["not empty", "of shape [0, 3, 4, 6]"]),
        (IMAGES.transpose(2, 3), {}, ["contiguous", "strides [72, 24, 1, 6] on cpu"]),
        (IMAGES.to("meta"), {}, ["on the CPU", "on meta"]),
        (IMAGES, {"batch_size": 0}, ["batch size must be at least 1, got 0"]),
        (IMAGES, {"rank": 2, "world": 2}, ["rank must be from 0 to", "got rank 2 of 2"]),
        (IMAGES, {"rank": -1}, ["got rank -1 of 1"]),
        (IMAGES, {"world": 0}, ["got rank 0 of 0"]),
    ],
)
def test_arguments_that_cannot_be(
    kind: Kind, images: Tensor, arguments: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ArgumentError) as caught:
        kind(images, **{"batch_size": 5, "seed": 0, "device": CPU} | arguments)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells only Linux' memory apart")
def test_memory_stays_flat_however_large_the_file_is(tmp_path: Path) -> None:
    program = """
        import re, sys, torch
        import numpy as np
        from pathlib import Path
        from fastjvae.data.batches import StreamedBatches
        from fastjvae.data.memory import tensor_on
        from fastjvae.data.npy import map_array

        def memory() -> int:  # without the file's pages, which the system takes back at will
            status = Path("/proc/self/status").read_text()
            return int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]) * 1024

        images = tensor_on(map_array(Path(sys.argv[1])))
        before = memory()
        read = 0
        with StreamedBatches(images, 16, 0, torch.device("cpu")) as batches:
            for step in range(200):
                read += batches.select(step if step % 50 else 50 * step).nbytes
        print(read, memory() - before)
    """
    path = tmp_path / "sparse.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (250_000, 3, 64, 64))  # takes no disk
    script = "\n".join(line.removeprefix(" " * 8) for line in program.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )
    read, grown = map(int, done.stdout.split())
    assert read == 200 * 16 * 3 * 64 * 64  # 39 MB of the 3 GB
    assert grown < 15e6


# Which of the two.


def test_images_in_memory_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 0)
    batches = batches_of(IMAGES, batch_size=5, seed=1, device=CPU, rank=1, world=2)
    assert isinstance(batches, ResidentBatches)
    assert batches._pixels is IMAGES
    assert same(get(batches, 0, 9), get(ResidentBatches(IMAGES, 5, 1, CPU, 1, 2), 0, 9))


@pytest.mark.parametrize(
    ("available", "options", "kind"),
    [
        (4 * IMAGES.nbytes, {}, ResidentBatches),
        (4 * IMAGES.nbytes - 1, {}, StreamedBatches),
        (IMAGES.nbytes, {"share": 1.0}, ResidentBatches),
    ],
)
def test_a_map_is_copied_into_memory_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, available: int, options: dict[str, float], kind: Kind
) -> None:
    monkeypatch.setattr(memory, "available", lambda: available)
    with batches_of(
        IMAGES, batch_size=5, seed=1, device=CPU, rank=1, world=2, mapped=True, **options
    ) as batches:
        assert type(batches) is kind
        if isinstance(batches, ResidentBatches):
            assert batches._pixels.data_ptr() != IMAGES.data_ptr()
        assert same(get(batches, 0, 9), get(ResidentBatches(IMAGES, 5, 1, CPU, 1, 2), 0, 9))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestGPU:
    def test_resident_order_is_made_on_the_device(self) -> None:
        device = torch.device("cuda")
        batches = batches_of(IMAGES, batch_size=5, seed=1, device=device)
        assert isinstance(batches, ResidentBatches)
        generator = torch.Generator(device).manual_seed(1_000_003 + 1)
        order = torch.randperm(23, device=device, generator=generator)
        images = batches.gather(batches.select(6))
        assert torch.equal(images.cpu(), IMAGES[order[5:10].cpu()] / 255)

    def test_gather_in_a_graph(self) -> None:
        batches = ResidentBatches(IMAGES, 5, 1, torch.device("cuda"))
        selected = batches.select(0).clone()
        batches.gather(selected)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            images = batches.gather(selected)
        selected.copy_(batches.select(1))
        graph.replay()
        assert torch.equal(images.cpu(), IMAGES[selected.cpu()] / 255)

    def test_streamed_batches_arrive_whole(self) -> None:
        device = torch.device("cuda")
        with batches_of(IMAGES, batch_size=5, seed=1, device=device, share=0.0) as streamed:
            assert isinstance(streamed, StreamedBatches)
            got = get(streamed, *range(100))
        expected = get(ResidentBatches(IMAGES, 5, 1, device), *range(100))
        assert same([batch.cpu() / 255 for batch in got], [batch.cpu() for batch in expected])


# DataLoaders.


class Noisy(Dataset[Tensor]):
    """Images with an augmentation by torch's default generator."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        return torch.full((1, 2, 2), float(index)) + torch.rand(1, 2, 2)


def with_a_generator_of_its_own() -> DataLoader[Tensor]:
    return DataLoader(Noisy(), 4, shuffle=True, generator=torch.Generator().manual_seed(99))


def with_a_batch_sampler() -> DataLoader[Tensor]:
    return DataLoader(Noisy(), batch_sampler=BatchSampler(RandomSampler(range(10)), 4, False))


LOADERS: dict[str, Callable[[], DataLoader[Tensor]]] = {
    "shuffled": lambda: DataLoader(Noisy(), 4, shuffle=True),
    "workers": lambda: DataLoader(Noisy(), 4, shuffle=True, num_workers=2),
    "own generator": with_a_generator_of_its_own,
    "batch sampler": with_a_batch_sampler,
}


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_batches_depend_on_seed_and_step_alone(name: str) -> None:
    with LoaderBatches(LOADERS[name](), CPU, 5) as batches:
        assert (batches.images, batches.img_size, batches.steps_per_epoch) == (10, (1, 2, 2), 3)
        straight = []
        for step in range(7):
            torch.rand(step)  # training draws from the default generator too
            straight += get(batches, step)
    torch.manual_seed(123)
    with LoaderBatches(LOADERS[name](), CPU, 5) as resumed:
        assert same(get(resumed, 4, 5, 6), straight[4:])
        assert same(get(resumed, 1, 1, 0, 2), [straight[i] for i in (1, 1, 0, 2)])
    assert same(get(resumed, 3), straight[3:4])  # closed, it starts again
    resumed.close()
    epochs = [torch.cat(straight[start : start + 3]).long().amax((1, 2, 3)) for start in (0, 3)]
    assert [epoch.sort().values.tolist() for epoch in epochs] == [list(range(10))] * 2
    assert not torch.equal(*epochs)
    with LoaderBatches(LOADERS[name](), CPU, 6) as other_seed:
        assert not torch.equal(get(other_seed, 0)[0], straight[0])


def test_loader_leaves_the_default_generator_alone() -> None:
    before = torch.get_rng_state()
    get(LoaderBatches(LOADERS["shuffled"](), CPU, 0), 0, 1, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampler_is_told_the_epoch() -> None:
    images = torch.arange(8.0).reshape(8, 1, 1, 1)
    parts = []
    for rank in range(2):
        sampler = DistributedSampler(images, 2, rank, seed=3)  # type: ignore[arg-type]
        batches = LoaderBatches(DataLoader(images, 2, sampler=sampler), CPU, 0)  # type: ignore[arg-type]
        assert (batches.images, batches.steps_per_epoch) == (8, 2)
        parts.append([torch.cat(get(batches, *steps)).flatten() for steps in ((0, 1), (2, 3))])
    epochs = [torch.cat(part) for part in zip(*parts, strict=True)]
    assert all(sorted(epoch.tolist()) == list(range(8)) for epoch in epochs)
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [True, False])
def test_contents_are_passed_on_unchanged(dtype: torch.dtype, labels: bool) -> None:
    images = IMAGES.to(dtype)
    dataset = TensorDataset(images, torch.arange(23)) if labels else images
    batches = LoaderBatches(DataLoader(dataset, 5), CPU, 0)  # type: ignore[arg-type]
    assert same(get(batches, *range(5)), list(images.split(5)))


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(IMAGES[:7])


class MeasuredStream(Stream):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def test_a_stream_with_a_length_will_do() -> None:
    batches = LoaderBatches(DataLoader(MeasuredStream(7), 3), CPU, 0)
    assert (batches.images, batches.steps_per_epoch) == (7, 3)
    assert same(get(batches, *range(6)), 2 * list(IMAGES[:7].split(3)))


def test_loader_that_ends_early() -> None:
    batches = LoaderBatches(DataLoader(MeasuredStream(12), 3), CPU, 0)
    get(batches, 0, 1, 2)
    with pytest.raises(DataError, match="announces 4 batches by its length, but epoch 0 has ended"):
        batches.select(3)


class Endless:
    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0], [1]])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(Stream(), 3), "the loader's dataset must have a length.*: .*'Stream'"),
        (DataLoader(Noisy(), batch_sampler=Endless()), "the loader must have a length.*'Endless'"),  # type: ignore[arg-type]
    ],
)
def test_loader_without_a_length(loader: DataLoader[Tensor], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message} has no len"):
        LoaderBatches(loader, CPU, 0)


@pytest.mark.parametrize(("count", "what"), [(0, "the loader's dataset"), (3, "the loader")])
def test_empty_loader(count: int, what: str) -> None:
    loader = DataLoader(Noisy(count), 4, drop_last=True)
    with pytest.raises(ArgumentError, match=f"^{what} must not be empty, got a length of 0"):
        LoaderBatches(loader, CPU, 0)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"x": IMAGES}, "as tensors, got dict$"),
        ((), "as tensors, got tuple$"),
        ([["a"], IMAGES], "as tensors, got list that begins with list$"),
        (IMAGES[0], r"of shape \(N, C, H, W\), got torch.uint8 of shape \[3, 4, 6\]"),
        (IMAGES[:0], r"got torch.uint8 of shape \[0, 3, 4, 6\]"),
        ((IMAGES.long(), IMAGES), "as uint8 or floats .*, got torch.int64"),
        (IMAGES > 3, "got torch.bool"),
    ],
)
def test_batches_of_another_form(batch: Any, message: str) -> None:
    loader = DataLoader([batch], batch_size=None, collate_fn=lambda item: item)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        LoaderBatches(loader, CPU, 0)


def test_images_of_another_size() -> None:
    items = [IMAGES[:2], IMAGES[:2, :, :3]]
    batches = LoaderBatches(DataLoader(items, batch_size=None), CPU, 0)  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=r"got \[3, 4, 6\] first and \[3, 3, 6\] in batch 1 of epoch 2"
    ):
        batches.select(5)


class Broken(Noisy):
    def __getitem__(self, index: int) -> Tensor:
        if index == 7:
            raise RuntimeError("no image 7")
        return super().__getitem__(index)


def test_error_of_the_dataset_comes_out_of_select() -> None:
    batches = LoaderBatches(DataLoader(Broken(), 4), CPU, 0)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no image 7"):
        batches.select(1)
    assert torch.equal(torch.get_rng_state(), before)
