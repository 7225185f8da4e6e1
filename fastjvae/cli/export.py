"""``fastjvae export``: a model in the forms of other programs."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from fastjvae.cli.command import LoadsModel, RunPath
from fastjvae.model import export
from fastjvae.training.run_folder import RunFolder, run_of
from fastjvae.training.settings.train import TrainConfig


class Export(LoadsModel):
    """Write a model in another form."""

    model_path: RunPath
    """a run folder, or any model that fastjvae or the published code saved"""
    to: Literal["published", "safetensors", "torch"]
    """published: model.pt and specs.json of the published code; safetensors: config.json and
    model.safetensors; torch: encoder.pt2 and decoder.pt2 of torch.export"""
    out: str | None = None
    """folder; by default export-FORM in the run folder"""

    def run(self) -> int:
        model = self.loaded(self.model_path)
        run = run_of(self.model_path)
        folder = Path(self.out) if self.out else run.path / f"export-{self.to}"
        if self.to == "published":
            export.save_published(model, folder, _published_specs(run))
        elif self.to == "safetensors":
            model.save_pretrained(folder)
        else:
            export.save_exported(model, folder)
        print(f"wrote {', '.join(sorted(p.name for p in folder.iterdir()))} to {folder}")
        return 0


def _published_specs(run: RunFolder) -> dict[str, Any]:
    """The training settings in the form of the published code's specs.json."""
    if not run.is_run():
        return {}
    config = run.read_config()
    specs: dict[str, Any] = {
        "dataset": config.dataset.replace("-", "_"),
        "batch_size": config.batch_size,
        "epochs": [config.epochs],
        "record_loss_every": config.log_every,
        "print_loss_every": config.log_every,
        "experiment_name": run.path.name,
    }
    if isinstance(config, TrainConfig):
        specs["lr"] = [config.lr]
        specs["cont_capacity"] = list(dataclasses.astuple(config.cont_capacity)[:4])
        specs["disc_capacity"] = list(dataclasses.astuple(config.disc_capacity)[:4])
    return specs
