"""The kinds of training that have to run on a GPU: settings beside those of the paper."""

from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "information": {"disc_measure": "information"},
    "warmup": {"warmup": 5},
    "accumulate": {"accumulate": 2},
    "augment": {"augment": 0.5},
    "shared": {
        "group": 4,
        "neighbours": 5,
        "augment": 0.6,
        "overclusters": 30,
        "disc_measure": "shared",
        "initialisation": "he",
    },
    "factor": {"objective": "factor"},
    "beta-tc": {"objective": "beta-tc"},
    "cc-beta": {"objective": "cc-beta"},
    "continuous": {"disc": ()},
    "bf16": {"precision": "bf16"},
    "tf32": {"precision": "tf32"},
    "compiled": {"compile": True},
}
