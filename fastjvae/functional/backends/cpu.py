"""The latent variables and the loss of a training step on a CPU, with the backward pass by hand.

The formulas are the reference's; what is saved is calls. Latent variables are so small that a call
costs more than its arithmetic, and autograd makes every one of the reference's a node of its own.
A gradient of a gradient is not written out: it comes from the reference.

Shapes as in :mod:`fastjvae.functional.backends.reference`; S = Z + D + sum K.
"""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastjvae.functional.backends import reference
from fastjvae.functional.backends.reference import LossTerms
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.gaussian import HALF_LOG_2PI, Gaussian, gaussian_mean, unit_interval
from fastjvae.functional.latents import LatentSpec, largest_kl


def joint_latent(
    params: Tensor, spec: LatentSpec, tau: float | Tensor, normal: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """Sample rows (N, L), and batch means (S,): KL of units, KL of variables, probabilities."""
    return _JointLatent.apply(params, normal, uniform, tau, spec)  # type: ignore[no-any-return]


def joint_loss(
    logits: Tensor, target: Tensor, means: Tensor, terms: LossTerms
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`fastjvae.functional.backends.reference.joint_loss`; the loss alone has a gradient."""
    gaussian = terms.gaussian
    if gaussian is None:
        target = unit_interval(target, logits.dtype)
        return _JointLoss.apply(logits, target, means, None, terms)  # type: ignore[no-any-return]
    target = gaussian.unit_interval(target, logits.dtype)
    # On the way to it autograd is to see the scale as an input; the rest are numbers.
    log_scale = torch.as_tensor(gaussian.log_scale, dtype=logits.dtype)
    terms = terms._replace(gaussian=dataclasses.replace(gaussian, log_scale=0.0))
    return _JointLoss.apply(logits, target, means, log_scale, terms)  # type: ignore[no-any-return]


class _JointLatent(Function):
    @staticmethod
    def forward(
        ctx: Any,
        params: Tensor,
        normal: Tensor,
        uniform: Tensor,
        tau: float | Tensor,
        spec: LatentSpec,
    ) -> tuple[Tensor, Tensor]:
        rows = max(len(params), 1)
        mean, logvar = params[:, spec.mean], params[:, spec.logvar]
        deviation = (0.5 * logvar).exp_().mul_(normal)
        kl = logvar.expm1().sub_(logvar).addcmul_(mean, mean)
        # As reference.gumbel, with its sign turned.
        minus_gumbel = uniform.clamp_min(reference.GUMBEL_FLOOR).log_().neg_()
        minus_gumbel.clamp_min_(reference.GUMBEL_FLOOR).log_()
        samples, log_ps, ps, kl_disc = [mean + deviation], [], [], []
        for logits, variable in zip(spec.logits, spec.variables, strict=True):
            log_p = params[:, logits].log_softmax(dim=1)
            samples.append((log_p - minus_gumbel[:, variable]).div_(tau).softmax(dim=1))
            ps.append(log_p.exp())
            divergence = (ps[-1] * log_p).sum(dim=1).add_(math.log(log_p.shape[1]))
            kl_disc.append(divergence.sum().div_(rows))
            log_ps.append(log_p)
        sample = torch.cat(samples, dim=1)
        means = torch.cat(
            [
                kl.sum(dim=0).mul_(0.5 / rows),
                *(term[None] for term in kl_disc),
                *(p.sum(dim=0).div_(rows) for p in ps),
            ]
        )
        ctx.tau, ctx.spec = tau, spec
        ctx.save_for_backward(params, normal, uniform, deviation, sample, *log_ps, *ps)
        return sample, means

    @staticmethod
    def backward(ctx: Any, grad_sample: Tensor, grad_means: Tensor) -> Any:
        params, normal, uniform, deviation, sample, *saved = ctx.saved_tensors
        tau, spec = ctx.tau, ctx.spec
        if torch.is_grad_enabled():
            outputs = reference.joint_latent(params, spec, tau, normal, uniform)
            together = [outputs.sample, torch.cat(outputs[1:])]
            upstream = [grad_sample, grad_means]
            (grad,) = torch.autograd.grad(together, params, upstream, create_graph=True)
            return grad, None, None, None, None
        rows = max(len(params), 1)
        mean, logvar = params[:, spec.mean], params[:, spec.logvar]
        grad_kl, grad_kl_disc, grad_p = spec.split_means(grad_means / rows)
        grad_z = grad_sample[:, : spec.cont]
        # d z / d logvar = deviation / 2, d KL / d logvar = (exp(logvar) - 1) / 2
        grads = [
            torch.addcmul(grad_z, mean, grad_kl),
            logvar.expm1().mul_(grad_kl).addcmul_(grad_z, deviation).mul_(0.5),
        ]
        log_ps, ps = saved[: len(spec.disc)], saved[len(spec.disc) :]
        for d, (log_p, p) in enumerate(zip(log_ps, ps, strict=True)):
            variable = spec.variables[d]
            columns = slice(spec.cont + variable.start, spec.cont + variable.stop)
            # Rows of the first gradient sum to 0, so log_softmax passes it on unchanged.
            slope = _softmax_backward(grad_sample[:, columns], sample[:, columns]).div_(tau)
            slopes = torch.addcmul(grad_p[variable], log_p, grad_kl_disc[d])
            grads.append(slope.add_(_softmax_backward(slopes, p)))
        return torch.cat(grads, dim=1), None, None, None, None


class _JointLoss(Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        means: Tensor,
        log_scale: Tensor | None,
        terms: LossTerms,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        step, spec, cont, disc, channel_reduction, disc_measure, images, gaussian = terms
        units, variables = spec.cont, len(spec.disc)
        kl_cont, kl_disc, category_mean = spec.split_means(means)
        divisor = reference.divisor(logits, channel_reduction, images)
        sharpness = squares = None
        if gaussian is None:
            reconstruction = _cross_entropy(logits, target).div_(divisor)
        else:
            assert log_scale is not None
            sharpness = log_scale.neg().exp_().mul_(gaussian.width).square_()
            error = gaussian_mean(logits).sub_(target)
            squares = error.square_().sum().mul_(sharpness)
            constant = (log_scale + HALF_LOG_2PI).mul_(logits.numel())
            reconstruction = constant.add_(squares, alpha=0.5).div_(divisor)
        # Both capacities at once: a scalar costs a call as a vector does.
        measure = kl_disc
        if disc_measure == "information":
            measure = reference.information(kl_disc, category_mean, spec)
        zero = means.new_zeros(())
        measures = [kl_cont.sum() if cont else zero, measure.sum() if disc else zero]
        capacity, gamma = _capacities(step, cont, disc, spec, means)
        excess = torch.stack(measures).sub_(capacity)
        penalty = excess.abs().mul_(gamma).sum()
        slope_cont, slope_disc = excess.sign_().mul_(gamma)
        by_category = zero.expand(spec.num_categories)
        if disc and disc_measure == "information":
            by_category = _imbalance_slope(category_mean).mul_(-slope_disc)
        slopes = torch.cat([slope_cont.expand(units), slope_disc.expand(variables), by_category])
        ctx.divisor, ctx.terms = divisor, terms
        ctx.save_for_backward(logits, target, means, slopes, log_scale, sharpness, squares)
        loss = penalty.add_(reconstruction).div_(reference.pixels(logits))
        capacity_cont, capacity_disc = capacity
        ctx.mark_non_differentiable(reconstruction, capacity_cont, capacity_disc)
        return loss, reconstruction, capacity_cont, capacity_disc

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> Any:
        logits, target, means, slopes, log_scale, sharpness, squares = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable_gradients(grad, logits, target, means, log_scale, ctx.terms)
        grad = grad / reference.pixels(logits)
        each = grad / ctx.divisor
        if log_scale is None:
            by_logits = logits.sigmoid().sub_(target).mul_(each)
            return by_logits, None, slopes * grad, None, None
        by_logits = gaussian_mean(logits).sub_(target).mul_(0.25 * each * sharpness)
        return by_logits, None, slopes * grad, each * (logits.numel() - squares), None


def _differentiable_gradients(
    grad: Tensor,
    logits: Tensor,
    target: Tensor,
    means: Tensor,
    log_scale: Tensor | None,
    terms: LossTerms,
) -> tuple[Tensor | None, ...]:
    """The gradients of the joint loss with a graph of their own."""
    inputs = [logits, means]
    if log_scale is not None:
        assert terms.gaussian is not None
        # The target is in the unit interval already, and an error there is one of `width` less.
        shifted = log_scale - math.log(terms.gaussian.width)
        terms = terms._replace(gaussian=Gaussian(shifted))
        inputs += [log_scale] if log_scale.requires_grad else []
    loss = reference.joint_loss(logits, target, means, terms)[0]
    by_logits, by_means, *by_log_scale = torch.autograd.grad(loss, inputs, grad, create_graph=True)
    return by_logits, None, by_means, by_log_scale[0] if by_log_scale else None, None


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The sum of max(l, 0) - l t - log sigmoid(|l|), in nats.

    PyTorch's own takes log1p(exp(-|l|)), a fifth of the speed of the logarithm: four times the
    whole. Here a pixel is within 6e-8 nats, half a unit in the last place of the sigmoid near 1.
    """
    log_p = logits.abs().sigmoid_().log_()
    return torch.addcmul(logits.relu(), logits, target, value=-1).sub_(log_p).sum()


def _capacities(
    step: int | Tensor, cont: Capacity | None, disc: Capacity | None, spec: LatentSpec, like: Tensor
) -> tuple[Tensor, Tensor]:
    """C_z(t) and C_c(t) as of :meth:`Capacity.at`, nats, (2,), and their gammas; 0 where free."""
    free = Capacity(0.0, 0.0, 1, 0.0)
    both = cont or free, disc or free
    gammas = [capacity.gamma for capacity in both]
    annealed = any(isinstance(gamma, Tensor) for gamma in gammas)
    lo, span, iters, most, gamma = like.new_tensor(
        [
            [capacity.lo for capacity in both],
            [capacity.hi - capacity.lo for capacity in both],
            [capacity.iters for capacity in both],
            [math.inf, largest_kl(spec.disc)],
            [0.0, 0.0] if annealed else gammas,
        ]
    )
    if annealed:
        gamma = torch.stack([torch.as_tensor(each, dtype=like.dtype) for each in gammas])
    start = torch.tensor([int(capacity.start) for capacity in both])
    progress = ((step - start) / iters).clamp_(0.0, 1.0)
    return torch.addcmul(lo, progress, span).minimum(most), gamma


def _imbalance_slope(category_mean: Tensor) -> Tensor:
    """d imbalance / d p = log p + 1, as of reference.category_imbalance also where p is clamped."""
    tiny = torch.finfo(category_mean.dtype).tiny
    return category_mean.clamp_min(tiny).log_().add_(category_mean >= tiny)


def _softmax_backward(grad: Tensor, y: Tensor) -> Tensor:
    """y (grad - sum grad y), row by row."""
    return torch.ops.aten._softmax_backward_data(grad, y, 1, y.dtype)  # type: ignore[no-any-return]
