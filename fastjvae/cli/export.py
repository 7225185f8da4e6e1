"""``fastjvae export``: a model in the forms of other programs."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fastjvae.cli.command import LoadsModel, RunPath
from fastjvae.cli.explore import page_of
from fastjvae.errors import ArgumentError
from fastjvae.figures.saving import save
from fastjvae.figures.traversals import traversals
from fastjvae.files import write_bytes
from fastjvae.model import JointVAE, export, hub
from fastjvae.model.onnx_files import DECODER, ENCODER, save_onnx
from fastjvae.model.pretrained import CONFIG, WEIGHTS
from fastjvae.model.published import PUBLISHED_WEIGHTS, SPECS
from fastjvae.training.model_card import UNKNOWN, model_card, saved_evaluation
from fastjvae.training.run_folder import RunFolder, run_of
from fastjvae.training.settings.train import TrainConfig

_CARD, _FIGURE, _PAGE = "README.md", "traversals.png", "explorer.html"


class Export(LoadsModel):
    """Write a model in another form."""

    model_path: RunPath
    """a run folder, or any model that fastjvae or the published code saved"""
    to: Literal["published", "safetensors", "torch", "onnx", "html", "hub"]
    """published: model.pt and specs.json of the published code; safetensors: config.json and
    model.safetensors; torch: encoder.pt2 and decoder.pt2 of torch.export; onnx: encoder.onnx and
    decoder.onnx, compared with the model in onnxruntime where that is installed; html:
    explorer.html, a page that moves the model by sliders, offline; hub: a folder for the Hugging
    Face Hub, with a model card"""
    out: str | None = None
    """folder; by default export-FORM in the run folder"""
    range: tuple[float, float] | None = None
    """html: first and last value of a unit, in standard deviations of its prior; by default its
    5 % and 95 % quantile"""
    push: str | None = None
    """hub: upload the folder to this repository, USER/NAME, which is made if it does not exist"""
    license: str | None = None
    """hub: the license of the model, by the Hub's word for it, such as mit or cc-by-4.0; without
    it the model card says that nobody has named one"""

    def run(self) -> int:
        self._check()
        model = self.loaded(self.model_path)
        run = run_of(self.model_path)
        folder = Path(self.out) if self.out else run.path / f"export-{self.to}"
        notes: list[str] = []
        files: Sequence[str]
        if self.to == "published":
            files = (PUBLISHED_WEIGHTS, SPECS)
            export.save_published(model, folder, _published_specs(run))
        elif self.to == "safetensors":
            files = (CONFIG, WEIGHTS)
            model.save_pretrained(folder)
        elif self.to == "torch":
            files = export.PROGRAMS
            export.save_exported(model, folder)
        elif self.to == "onnx":
            files = (ENCODER, DECODER)
            notes.append(_compared(save_onnx(model, folder)))
        elif self.to == "html":
            files = (_PAGE,)
            page = page_of(model, self.model_path, self.range)
            write_bytes(folder / _PAGE, page.encode())
        else:
            files, notes = self._save_for_hub(model, run, folder)
        print(f"wrote {', '.join(sorted(files))} to {folder}")
        print(*notes, sep="\n", end="\n" if notes else "")
        if self.push is not None:
            print(f"uploaded to {hub.upload(folder, files, self.push)} on the Hub")
        return 0

    def _check(self) -> None:
        """Refuse what cannot be done before anything is written.

        Raises:
            ArgumentError: a flag is of another form, or its value cannot be.
        """
        for name, form in (("push", "hub"), ("license", "hub"), ("range", "html")):
            if getattr(self, name) is not None and self.to != form:
                raise ArgumentError(f"--{name} is for --to {form}, got --to {self.to}")
        if self.push is not None:
            if not hub.is_repository(self.push):
                raise ArgumentError(
                    f"--push takes the id of a repository, USER/NAME, got {self.push!r}"
                )
            hub.check_library()
        if self.license is not None and not re.fullmatch(r"[a-z][a-z0-9.+-]*", self.license):
            raise ArgumentError(
                f"--license takes the Hub's word for a license, such as mit, apache-2.0 or"
                f" cc-by-4.0, got {self.license!r}"
            )

    def _save_for_hub(
        self, model: JointVAE, run: RunFolder, folder: Path
    ) -> tuple[list[str], list[str]]:
        """Write a folder for the Hub; the names of its files, and what is to be said of them."""
        files, notes = [CONFIG, WEIGHTS, _CARD], []
        evaluation = saved_evaluation(run)
        if evaluation is None:
            notes.append(f"the model card has no evaluation: none of this very model is in {run}")
        if self.license is None:
            notes.append("the model card says that nobody has named a license: --license does")
        model.save_pretrained(folder)
        if model.img_size[0] in (1, 3):  # others are no pictures
            files.append(_FIGURE)
            save(traversals(model), folder / _FIGURE)
        card = model_card(
            model,
            run,
            evaluation,
            name=run.path.resolve().name,
            repository=self.push,
            figure=_FIGURE if _FIGURE in files else None,
            license_id=self.license or UNKNOWN,
        )
        write_bytes(folder / _CARD, card.encode(errors="backslashreplace"))  # of names
        return files, notes


def _compared(difference: float | None) -> str:
    if difference is None:
        return "not compared with the model: onnxruntime is not installed"
    return f"the largest difference from the model in onnxruntime: {difference:.1e}"


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
