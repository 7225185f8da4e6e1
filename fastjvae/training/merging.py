"""Many categories merged into few, so that as much of what they share is kept as can be.

What two categories of neighbouring images share is lost where one of them is put into another
group. Types that no neighbours connect are then groups of their own, however long the chain of
neighbours is that connects the images of one type. A head of few categories that is fitted by
gradient often ends with one of them on the halves of two types; so few categories as there are here
are searched through instead.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_FLOOR = 1e-12  # of a probability
_BEGINNINGS = 10  # random ones
_MOST_MOVES = 1_000

_Array = npt.NDArray[np.float64]
_Numbers = npt.NDArray[np.int64]


def merged(joint: Tensor, number: int) -> Tensor:
    """Which of ``number`` groups each category belongs to.

    The best partition that merging of pairs and moves of single categories find, from several
    beginnings, by the groups' I - B: I is the mutual information of the groups of two images and B
    = KL(group mean || uniform).

    >>> merged(torch.tensor([[0.2, 0.1, 0.0], [0.1, 0.2, 0.0], [0.0, 0.0, 0.4]]), 2)
    tensor([0, 0, 1])

    Args:
        joint: (K, K) probabilities of the categories of two images of a group, symmetric.
        number: of groups, 1 to K.

    Returns:
        (K,) int64 on the CPU; the groups are numbered in the order of their first categories.
    """
    shared = joint.double().cpu().numpy()
    random = np.random.default_rng(0)
    beginnings = [_merged_in_pairs(shared, number)]
    beginnings += [random.integers(number, size=len(shared)) for _ in range(_BEGINNINGS)]
    found = [_moved(shared, groups, number) for groups in beginnings]
    _, best = max(found, key=lambda scored: scored[0])
    _, firsts, groups = np.unique(best, return_index=True, return_inverse=True)
    return torch.from_numpy(np.argsort(np.argsort(firsts))[groups])


def _merged_in_pairs(joint: _Array, number: int) -> _Numbers:
    """(K,) groups, made by merging the pair again and again that leaves the highest I - B."""
    groups = np.arange(len(joint))
    while len(joint) > number:
        rows, own = _x_log_x(joint).sum(axis=1), np.diag(joint)
        means = joint.sum(axis=1)
        a, b = np.triu_indices(len(joint), 1)
        at = np.arange(len(a))
        both = joint[a] + joint[b]  # (pairs, K), the row of the two together but for its own end
        terms = _x_log_x(both)
        gain = 2 * (terms.sum(axis=1) - terms[at, a] - terms[at, b] - rows[a] - rows[b])
        gain += _x_log_x(own[a]) + _x_log_x(own[b]) + 2 * _x_log_x(joint[a, b])
        gain += _x_log_x(own[a] + own[b] + 2 * joint[a, b])
        gain -= 3 * (_x_log_x(means[a] + means[b]) - _x_log_x(means[a]) - _x_log_x(means[b]))
        first, second = (int(each[gain.argmax()]) for each in (a, b))
        joint = joint.copy()
        joint[first] += joint[second]
        joint[:, first] += joint[:, second]
        joint = np.delete(np.delete(joint, second, axis=0), second, axis=1)
        groups[groups == second] = first
        groups[groups > second] -= 1
    return groups


def _moved(joint: _Array, groups: _Numbers, number: int) -> tuple[float, _Numbers]:
    """Score and groups once no move of a single category to another group is for the better."""
    groups, unit = groups.copy(), np.eye(number)
    step = unit[None, :, :] - unit[:, None, :]  # (from, to, G)
    for _ in range(_MOST_MOVES):
        members = unit[groups]  # (K, G)
        with_groups = joint @ members
        now = members.T @ with_groups
        by = step[groups]  # (K, to, G), what a move adds to the category's row of members
        crossed = by[:, :, :, None] * with_groups[:, None, None, :]
        after = now + crossed + crossed.swapaxes(2, 3)
        after += by[:, :, :, None] * by[:, :, None, :] * np.diag(joint)[:, None, None, None]
        scores = _score(after)
        category, target = np.unravel_index(scores.argmax(), scores.shape)
        if scores[category, target] <= _score(now) + _FLOOR:
            break
        groups[category] = target
    return float(_score(now)), groups


def _score(joint: _Array) -> _Array:
    """I - B of joint probabilities (..., G, G), but for a constant: sum P log P - 3 sum p log p."""
    means: _Array = _x_log_x(joint.sum(axis=-1)).sum(axis=-1)
    terms: _Array = _x_log_x(joint).sum(axis=(-2, -1))
    return terms - 3 * means


def _x_log_x(x: _Array) -> _Array:
    product: _Array = x * np.log(np.maximum(x, _FLOOR))
    return product
