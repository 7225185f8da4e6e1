"""Freed memory stays in the process: a training step faults in no pages again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import write_arrays

# Faults of a step with 16 MiB of activations, as the mean of 8 steps after 6.
SCRIPT = """
import resource, sys
from pathlib import Path
from fastjvae.data import DataSource, load
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer
from tiny_runs import tiny_config
data = Path(sys.argv[1])
config = tiny_config(data, batch_size=512, keep_freed_memory=sys.argv[2] == "keep", steps=1)
trainer = Trainer(config, load(DataSource("arrays", data)), RunFolder(sys.argv[3]))
trainer.train()
for _ in range(6):
    trainer.train_step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    trainer.train_step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 8)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_a_step_faults_in_no_pages_again(tmp_path: Path):
    data = write_arrays(tmp_path, images=512)

    def faults(how: str) -> float:
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(data), how, str(tmp_path / how)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return float(result.stdout)

    assert faults("keep") < 0.1 * faults("give back")
