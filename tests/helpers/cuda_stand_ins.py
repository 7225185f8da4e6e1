"""Stand-ins for CUDA's streams and graphs that find what runs unordered, on a CPU.

Every stream has a vector clock: how far along each stream it is known to be. An operator on one
stream that reads or writes what another stream has written, and is not known to be behind that,
might come too early on a GPU.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Stream:
    def __init__(self, number: int) -> None:
        self.number = number
        self.clock: Counter[int] = Counter()

    def wait_stream(self, other: Stream) -> None:
        for number, time in other.clock.items():
            self.clock[number] = max(self.clock[number], time)


@dataclass(frozen=True)
class Access:
    """What an operator does to a tensor's memory."""

    operator: str
    stream: int
    time: int

    def is_known_to(self, stream: Stream) -> bool:
        return stream.clock[self.stream] >= self.time


class Streams(TorchDispatchMode):
    """The streams of a device; ``unordered`` has a sentence for each access that may be early."""

    def __init__(self) -> None:
        super().__init__()
        self.all = [Stream(0)]
        self.current = self.all[0]
        self.capturing = False
        self.unordered: list[str] = []
        self._writes: dict[int, Access] = {}
        self._reads: dict[int, list[Access]] = defaultdict(list)
        self._kept: list[Any] = []  # so that no memory is used again under the same name

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let these take the place of CUDA's."""
        generators = {None: torch.default_generator}
        for name, value in {
            "Stream": self.new,
            "stream": self.on,
            "current_stream": lambda: self.current,
            "set_stream": self.set,
            "device": nullcontext,
            "CUDAGraph": Graph,
            "graph": self.capture,
            "get_sync_debug_mode": int,
            "set_sync_debug_mode": lambda _mode: None,
            "default_generators": generators,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def new(self) -> Stream:
        self.all.append(Stream(len(self.all)))
        return self.all[-1]

    def set(self, stream: Stream) -> None:
        self.current = stream

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def synchronize(self) -> None:
        """As torch.cuda.synchronize: every stream is behind everything."""
        for stream in self.all:
            for other in self.all:
                stream.wait_stream(other)

    @contextmanager
    def capture(self, _graph: Any, *, stream: Stream, **_: Any) -> Iterator[None]:
        """Nothing runs while it is captured; torch.cuda.graph synchronises first."""
        self.synchronize()
        self.capturing = True
        with self.on(stream):
            yield
        self.capturing = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.capturing:
            return result
        stream = self.current
        stream.clock[stream.number] += 1
        access = Access(str(func), stream.number, stream.clock[stream.number])
        by_name = {argument.name: argument for argument in func._schema.arguments}
        passed = [*zip(func._schema.arguments, args, strict=False)]
        passed += [(by_name[name], value) for name, value in kwargs.items()]
        written = set()
        for argument, value in passed:
            writes = argument.alias_info is not None and argument.alias_info.is_write
            for memory in self._memory(value):
                self._check(self._writes.get(memory), access, stream)
                if writes:
                    written.add(memory)
                else:
                    self._reads[memory].append(access)
        written |= {
            memory
            for memory in self._memory(result)
            if memory not in self._writes and memory not in self._reads
        }
        for memory in written:
            for read in self._reads.pop(memory, []):
                self._check(read, access, stream)
            self._writes[memory] = access
        return result

    def _memory(self, values: Any) -> list[int]:
        storages = [x.untyped_storage() for x in tree_leaves(values) if isinstance(x, Tensor)]
        self._kept += storages
        return [storage._cdata for storage in storages]

    def _check(self, before: Access | None, access: Access, stream: Stream) -> None:
        if before is not None and not before.is_known_to(stream):
            self.unordered.append(
                f"{access.operator} on stream {access.stream} may come before {before.operator}"
                f" on stream {before.stream}"
            )


class Graph:
    def register_generator_state(self, generator: torch.Generator) -> None:
        pass

    def replay(self) -> None:
        pass
