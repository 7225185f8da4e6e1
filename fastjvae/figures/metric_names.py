"""What the numbers of an evaluation are called beside an axis, with their units."""

import re

from fastjvae.metrics.scores import SCORE_TITLES

# A quantity and its unit, by the last name on the way to the number.
_QUANTITIES = {
    "reconstruction": ("reconstruction error", "nats per image"),
    "reconstruction_train": ("reconstruction error of training images", "nats per image"),
    "mean_image": ("reconstruction error of the mean image", "nats per image"),
    "kl": ("KL", "nats"),
    "kl_cont": ("KL", "nats"),
    "kl_cont_sum": ("KL of all units", "nats"),
    "kl_disc_sum": ("KL of all discrete variables", "nats"),
    "capacity": ("capacity", "nats"),
    "information": ("information", "nats"),
    "imbalance": ("imbalance", "nats"),
    "effect": ("effect", "share of the picture"),
    "effect_cont": ("effect", "share of the picture"),
    "accuracy_majority": ("accuracy, by majority", ""),
    "accuracy_one_to_one": ("accuracy, one-to-one", ""),
    "steps": ("training steps", ""),
    **{name: (title, "") for name, title in SCORE_TITLES.items()},
}


def metric_title(metric: str) -> str:
    """The name of a number in an evaluation in words, with its unit; any other text as it stands.

    >>> metric_title("accuracy_majority"), metric_title("variables.0.kl"), metric_title("kl_cont.3")
    ('accuracy, by majority', 'KL of c0 (nats)', 'KL of z3 (nats)')
    >>> metric_title("my_score"), metric_title("Score, as in Smith (2020)")
    ('my score', 'Score, as in Smith (2020)')
    """
    name, of = metric, ""
    if match := re.fullmatch(r"variables\.([0-9]+)\.(.+)", name):
        name, of = match[2], f" of c{match[1]}"
    if match := re.fullmatch(r"(kl_cont|effect_cont)\.([0-9]+)", name):
        name, of = match[1], f" of z{match[2]}"
    elif match := re.fullmatch(r"shares\.([0-9]+)", name):
        return f"share of images in category {match[1]}{of}"
    name = name.removeprefix("scores.")
    quantity, unit = _QUANTITIES.get(name, (name, ""))
    if name not in _QUANTITIES and re.fullmatch(r"[\w.]+", name):
        quantity = re.sub("[_.]+", " ", name).strip() or name
    return f"{quantity}{of} ({unit})" if unit else quantity + of


def is_share(metric: str) -> bool:
    """Whether a metric of this name lies between 0 and 1: a score, an accuracy, a share of images.

    >>> is_share("scores.mig"), is_share("accuracy_majority"), is_share("kl")
    (True, True, False)
    """
    name = metric.split(".")[-1]
    return name in SCORE_TITLES or "accuracy" in name or ".shares." in f".{metric}"
