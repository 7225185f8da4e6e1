"""The last lines of a training: what was learned, in words that need no table."""

from fastjvae.metrics.evaluation import USED_NATS, Evaluation
from fastjvae.training.settings.run import RunConfig


def summary(evaluation: Evaluation, config: RunConfig) -> str:
    """Three lines: the types that the categories hold, the styles of the units, the pictures."""
    lines = [_types(evaluation, config), _style(evaluation), _pictures(evaluation)]
    return "\n".join(lines)


def _types(evaluation: Evaluation, config: RunConfig) -> str:
    number = evaluation.most_telling
    if number is None:
        return "types: none, the model has no discrete variable"
    variable = evaluation.variables[number]
    used = len(variable.shares) - len(variable.unused)
    line = f"types: c{number} sorts the images into {used} of {len(variable.shares)} categories"
    if variable.accuracy_labelled is not None and evaluation.labelled is not None:
        line += (
            f"; {variable.accuracy_labelled:.1%} of {evaluation.images:,} images are in that of"
            f" their label, of which training saw {evaluation.labelled.images:,} others"
        )
    elif variable.accuracy_majority is not None:
        line += (
            f"; each named by its commonest label, {variable.accuracy_majority:.1%} of"
            f" {evaluation.images:,} images have that label"
        )
    assumed = assumption(config)
    return f"{line} ({assumed})" if assumed else line


def _style(evaluation: Evaluation) -> str:
    if not evaluation.kl_cont:
        return "style: none, the model has no continuous units"
    if evaluation.shows_mean_image:
        return "style: none yet, the pictures are no better than the mean image"
    units = [f"z{unit}" for unit in evaluation.used_units]
    among = f"{len(units)} of {len(evaluation.kl_cont)} continuous units"
    if not units:
        return f"style: none, {among} hold more than {USED_NATS} nats"
    return f"style: {among} hold what varies within a type, the most {', '.join(units[:3])}"


def _pictures(evaluation: Evaluation) -> str:
    mean = evaluation.mean_image
    than = "" if mean is None else f", that of the mean image {mean:.1f}"
    scale = evaluation.scale
    under = "" if scale is None else f", under a Gaussian of scale {scale:.3g}"
    error = f"{evaluation.reconstruction:.1f} nats"
    return f"pictures: the error of a reconstruction is {error}{than}{under}"


def assumption(config: RunConfig) -> str:
    """Which images the phases of a run take to show the same type; empty where they take none."""
    phases = [phase.config for phase in config.phase_configs]
    shared = [p for p in phases if getattr(p, "disc_measure", None) == "shared" and config.disc]
    words = {
        "neighbouring": any(phase.neighbours for phase in shared),
        "moved": any(phase.augment for phase in shared),
    }
    found = " and ".join(word for word, is_so in words.items() if is_so)
    return found and f"assumed: {found} images show the same type"
