"""A training step as a CUDA graph: warmed up on a stream of its own, captured, replayed."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

_WARM_UP = 3  # steps before a capture, in which libraries choose and allocate


class CapturedStep:
    """A captured step with the buffer that it reads its selection from."""

    def __init__(self, graph: torch.cuda.CUDAGraph, selected: Tensor) -> None:
        self._graph, self._selected = graph, selected

    def replay(self, selected: Tensor) -> None:
        """Take the step on another selection of the same shape."""
        self._selected.copy_(selected)
        self._graph.replay()


def capture(
    step: Callable[[Tensor], None],
    selected: Tensor,
    *,
    unchanged: Callable[[], AbstractContextManager[None]],
    generators: Sequence[torch.Generator],
) -> CapturedStep:
    """Capture ``step(selected)``; afterwards everything is as before.

    Args:
        step: writes its results in place and reads nothing back from the device.
        selected: what it is called with, on the CUDA device of everything that it touches.
        unchanged: what puts everything that a step changes back when its block ends.
        generators: of the device, besides its default one, whose numbers every replay draws on.

    Raises:
        RuntimeError: the step waits for the device, or does what cannot be captured. The current
            stream and all generators are as before then, too.
    """
    with torch.cuda.device(selected.device):
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        own = selected.clone()
        with unchanged():
            side.wait_stream(main)  # until the copies that are put back, and `own`, are made
            try:
                with torch.cuda.stream(side):
                    for _ in range(_WARM_UP - 1):
                        step(own)
                    with refused_waiting():  # a capture that fails leaves more behind
                        step(own)
            finally:
                main.wait_stream(side)  # until then nothing may be put back
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        try:
            # Other threads go on with CUDA calls of their own, such as to pin a loader's batches.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                step(own)
        except BaseException:
            # Where the end of the capture fails as well, torch stays on the stream and leaves the
            # generators waiting for that end.
            torch.cuda.set_stream(main)
            _renew(torch.cuda.default_generators[selected.device.index], *generators)
            raise
    return CapturedStep(graph, own)


def _renew(*generators: torch.Generator) -> None:
    """Give generators states that are in no capture, with the same numbers to come."""
    for generator in generators:
        generator.graphsafe_set_state(generator.clone_state())


@contextmanager
def refused_waiting() -> Iterator[None]:
    """Inside, a call that waits for a CUDA device is a RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype, once
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        raise RuntimeError("the step waits for the device, as .item() and .cpu() do") from error
    finally:
        torch.cuda.set_sync_debug_mode(before)
