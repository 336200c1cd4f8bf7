"""A doctor for models whose samples look wrong: what is healthy, what is not, and what to try.

Each test looks at one thing and says healthy, sick or unknown. Limits are chosen by hand, some of
them for a reason that stands beside them; between two limits the answer is unknown, since a wrong
accusation costs a day. Where a number is a slope or a ratio of mean errors, it is sick only if it
is beyond its limit by four standard errors.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ddpm_lite._doors import door
from ddpm_lite.diffusion import GaussianDiffusion
from ddpm_lite.forward import ForwardProcess, Objective
from ddpm_lite.oracle import Oracle
from ddpm_lite.runs.probes import (
    ByTime,
    against_the_oracle,
    answer,
    attention_rows,
    check_set,
    clock,
    noise,
    per_image,
    pick,
    spread_times,
)
from ddpm_lite.schedule import NoiseSchedule, spaced_times
from ddpm_lite.training import unwrapped

__all__ = ["Finding", "as_json", "diagnose", "oracle_through", "report"]

Verdict = Literal["healthy", "sick", "unknown"]
SURE = 4.0  # standard errors: by luck alone once in some ten thousand tests
# Where an image is neither clear nor gone: there a network must have learnt something.
LEAST_SNR, MOST_SNR = 0.3, 30.0
LEFT = (
    "Nothing is sick. Are the samples bad all the same? Test your sampler with oracle_through, ask "
    "q_sample for its two factors, tell the network 1 and T, and compare the log (chapter 14)."
)
EARLY = (2, 3, 4, 6, 8, 11, 16)  # times at which one step more or less is a large part of the noise


@dataclass(frozen=True)
class Finding:
    """What one test has found.

    Args:
        name: of the test.
        verdict: healthy, sick or unknown.
        measured: the number; NaN where nothing could be measured.
        what: what the number is.
        expected: what it should be, and why.
        advice: what to try.
    """

    name: str
    verdict: Verdict
    measured: float
    what: str
    expected: str
    advice: str = ""

    def __str__(self) -> str:
        number = "" if math.isnan(self.measured) else f" {self.measured:.4g}"
        line = f"{self.verdict:8}{self.name}: {self.what}{number}; expected {self.expected}"
        return f"{line}\n        try: {self.advice}" if self.verdict == "sick" else line


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as JSON has them, which knows no NaN: None where nothing was measured."""
    rows = [asdict(finding) for finding in findings]
    return [row | {"measured": _or_none(row["measured"])} for row in rows]


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def report(findings: list[Finding]) -> str:
    """The findings in plain words, the sick ones first."""
    order = {"sick": 0, "unknown": 1, "healthy": 2}
    lines = [str(f) for f in sorted(findings, key=lambda f: order[f.verdict])]
    counts = ", ".join(f"{sum(f.verdict == v for f in findings)} {v}" for v in order)
    rest = [] if any(f.verdict == "sick" for f in findings) else [LEFT]
    return "\n".join([*lines, counts, *rest])


@door
def diagnose(
    x0: Float[Tensor, "N *D"],
    network: Any = None,
    diffusion: GaussianDiffusion | None = None,
    *,
    test: Float[Tensor, "M *D"] | None = None,
    raw: Any = None,
    labels: Int[Tensor, " labels"] | None = None,
    test_labels: Int[Tensor, " more"] | None = None,
    steps: int | None = None,
    clip: bool = True,
    images: int = 256,
    seed: int = 0,
) -> list[Finding]:
    """Test a data set; and where they are given a network with its diffusion, on that data.

    The network is taken as it is, in training mode too: that is one of the faults.

    Args:
        x0: [N, ...], the images as the network was trained on them.
        network: `(xt, t) -> output`, whose samples look wrong: averaged, if it is.
        diffusion: as it is sampled with.
        test: images that it was not trained on.
        raw: the same network with the weights of the last step, not averaged.
        labels, test_labels: of the images, for a network with classes.
        steps: of the sampler; all T when not given.
        clip: whether the sampler holds x0_hat in [-1, 1].
        images: how many noised images each number is a mean over.
        seed: of images and noise.

    Raises:
        TypeError: arguments of another kind.
        ValueError: fewer than two images, values that are not finite, labels that do not fit,
            a network without a diffusion or the other way round, raw weights of another network,
            steps outside 1..T.
    """
    check_set(x0, images, labels)
    if test is not None:
        check_set(test, images, test_labels)
    if (network is None) != (diffusion is None):
        raise ValueError("network and diffusion belong together, got one without the other")
    _check_raw(network, raw)
    found = [data_range(x0), data_levels(x0, diffusion)]
    if network is None or diffusion is None:
        return found
    found += [start(x0, diffusion.schedule), finite(network)]
    if found[-1].verdict == "sick":
        return found
    asked = _Asked(network, diffusion, x0, labels, images, seed)
    answers = finite_answers(asked)
    found.append(answers)
    if answers.verdict == "sick":
        return found
    stops = [0, *spaced_times(diffusion.T, diffusion.T if steps is None else steps)]
    repeats = repeated(asked)
    found.append(repeats)
    if repeats.verdict == "sick":  # each further answer would have another mask
        return found
    found += [attention(asked), first_guess(asked, stops[-2], clip)]
    if times := spread_times(diffusion.schedule, 6, LEAST_SNR, MOST_SNR):
        b = against_the_oracle(
            network, diffusion, x0, times=times, images=images, labels=labels, seed=seed
        )
        found += [learned(b), calibrated(b)]
    found += [heard(asked), told_time(asked)]
    found += [averaged(asked, raw), hidden_labels(asked), gap(asked, test, test_labels)]
    return found


@dataclass(frozen=True)
class _Asked:
    """A network and what it is asked about."""

    network: Any
    diffusion: GaussianDiffusion
    x0: Tensor
    labels: Tensor | None
    images: int
    seed: int

    def errors(
        self, t: int, network: Any = None, x0: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """The loss of each image at t, in the coordinate of the objective."""
        x0, labels = (self.x0, self.labels) if x0 is None else (x0, labels)
        _, rows = pick(len(x0), self.images, self.seed)
        some, told = x0[rows], None if labels is None else labels[rows]
        xt = self.diffusion.q_sample(some, t, noise(some, self.seed, t))
        x0_hat, _ = answer(network or self.network, self.diffusion, xt, t, told)
        factor = self.diffusion.conversions["x0", self.diffusion.objective][0].float64[t].item()
        return factor**2 * per_image((x0_hat - some).double() ** 2)

    def whole(self, **other: Any) -> Tensor:
        """The mean loss of each image over eight times, evenly spaced in 1..T as in training."""
        times = spaced_times(self.diffusion.T, min(8, self.diffusion.T))
        return torch.stack([self.errors(t, **other) for t in times]).mean(0)


# The data.


def data_range(x0: Tensor) -> Finding:
    """Images belong in [-1, 1], where the chain's noise and the clip of x0_hat expect them."""
    low, high = float(x0.min()), float(x0.max())
    far = max(-low, high)
    verdict: Verdict = "healthy" if far < 1.001 else "unknown" if far < 1.5 else "sick"
    advice = "to_model_range: bytes become 2 x / 255 - 1"
    if far < 1.001 and high - low < 0.1:
        verdict, advice = "unknown", "hardly any contrast: scaled twice?"
    elif far < 1.001 and low >= 0:
        verdict, advice = "unknown", "not one dark pixel: are they light?"
        if low < 0.05 and high > 0.95:  # from end to end of [0, 1]
            verdict, advice = "sick", "2 x - 1: the images lie in [0, 1]"
    return Finding(
        "range", verdict, far, f"images lie in {low:.3g}..{high:.3g}, farthest", "-1..1", advice
    )


def data_levels(x0: Tensor, diffusion: GaussianDiffusion | None) -> Finding:
    """The decoder counts on grey levels that are evenly spaced over [-1, 1]."""
    levels = None if diffusion is None else diffusion.levels
    if levels is None:
        return Finding(
            "levels", "unknown", len(x0[:1000].unique()), "different values:", "no number is given"
        )
    grey = (x0[:1000].double() + 1) / 2 * (levels - 1)
    off = float((grey - grey.round()).abs().max())
    return Finding(
        "levels",
        "healthy" if off < 0.01 and x0.abs().max() <= 1.001 else "unknown",
        off,
        f"largest distance to one of {levels} grey levels, in levels:",
        "0, or bits per dimension are of other data",
        "levels= of the diffusion, or data that are not resized or jittered",
    )


# The chain.


def start(x0: Tensor, schedule: NoiseSchedule) -> Finding:
    """At T the image must be gone, since a sampler starts from pure noise.

    alpha_bar_T times the power of the images along their strongest direction, where the noise has
    power 1, is the square of a shift in standard deviations. At a shift of two, two starts in
    three can be told from noise, and the network was trained on what the sampler never shows it.
    Where all the power of an image, in whatever direction, is below a tenth, one in eight can.
    """
    alpha_bar = schedule.alpha_bar[-1].item()
    flat = x0[:1000].double().flatten(1)
    most = float(torch.linalg.matrix_norm(flat, 2) ** 2 / len(flat))
    left, whole = alpha_bar * most, alpha_bar * float(flat.square().sum(1).mean())
    sick = left > 4  # and then the whole is, too
    where = "in its strongest direction" if sick else "in all directions together"
    return Finding(
        "terminal SNR",
        "healthy" if whole < 0.1 else "sick" if sick else "unknown",
        left if sick else whole,
        f"alpha_bar_T is {alpha_bar:.2g}; power of the image left in x_T {where}, by the noise's:",
        "below 4" if sick else "below 0.1: the sampler starts from noise alone",
        "a schedule that ends in noise: linear_schedule(1000).rescaled(T), or cosine_schedule(T)",
    )


def first_guess(asked: _Asked, s: int, clip: bool) -> Finding:
    """What the error of the first x0_hat does to the next x_s, in its strongest direction.

    alpha_bar_s times the power of x0_hat - x_0 there. The noise of x_s has power 1 - alpha_bar_s.
    """
    T, diffusion = asked.diffusion.T, asked.diffusion
    _, rows = pick(len(asked.x0), asked.images, asked.seed)
    some, told = asked.x0[rows], None if asked.labels is None else asked.labels[rows]
    xt = diffusion.q_sample(some, T, noise(some, asked.seed, T))
    x0_hat, _ = answer(asked.network, diffusion, xt, T, told)
    off = ((x0_hat.clamp(-1, 1) if clip else x0_hat) - some).double().flatten(1).cpu()
    carried = diffusion.schedule.alpha_bar[s].item() * torch.linalg.matrix_norm(off, 2) ** 2
    share = float(carried) / len(off) / (1 - diffusion.schedule.alpha_bar[s].item() + 1e-12)
    return Finding(
        "first guess",
        "healthy" if share < 0.5 else "sick" if share > 2 else "unknown",
        share,
        f"power of the error of x0_hat at T = {T} in the next x_{s}, by that of its noise:",
        "well below 1",
        "predict v or x0, clip x0_hat, or let the schedule end at a larger alpha_bar_T: at no "
        "signal eps says nothing about the image, and x0_hat divides by sqrt(alpha_bar_T)",
    )


# The network.


def finite(network: Any) -> Finding:
    """A weight that is not a number makes every answer none."""
    state = network.state_dict().values() if isinstance(network, nn.Module) else ()
    tensors = [x for x in state if x.is_floating_point()]
    if not tensors:
        return Finding("finite weights", "unknown", math.nan, "no weights to look at", "0")
    bad = sum(int((~x.isfinite()).sum()) for x in tensors)
    return Finding(
        "finite weights",
        "sick" if bad else "healthy",
        bad,
        "weights that are NaN or infinite:",
        "0",
        "float32 or bfloat16, or a GradScaler that skips steps that overflow; a smaller "
        "learning rate; go back to the last good state",
    )


def finite_answers(asked: _Asked) -> Finding:
    """Finite weights can still overflow inside: asked at t = 1, in the middle and at T.

    The infinite x0_hat of an eps where alpha_bar_T is 0 is not the network's fault.
    """
    T, diffusion = asked.diffusion.T, asked.diffusion
    _, rows = pick(len(asked.x0), asked.images, asked.seed)
    some, told = asked.x0[rows], None if asked.labels is None else asked.labels[rows]
    bad = 0
    for t in sorted({1, (T + 1) // 2, T}):
        xt = diffusion.q_sample(some, t, noise(some, asked.seed, t))
        _, eps_hat = answer(asked.network, diffusion, xt, t, told)
        bad += int((~eps_hat.isfinite()).sum())
    return Finding(
        "finite answers",
        "sick" if bad else "healthy",
        bad,
        "numbers of eps_hat that are NaN or infinite, at t = 1, in the middle and at T:",
        "0",
        "float32 or bfloat16 in place of float16; look for a division by 0 or the root of a "
        "negative number inside the network",
    )


def repeated(asked: _Asked) -> Finding:
    """The same question twice: a network in eval mode gives the same answer."""
    few = _Asked(asked.network, asked.diffusion, asked.x0, asked.labels, 16, asked.seed)
    t = (asked.diffusion.T + 1) // 2
    one, other = few.errors(t), few.errors(t)
    apart = float((one - other).abs().mean() / one.mean())
    training = isinstance(asked.network, nn.Module) and asked.network.training
    return Finding(
        "the same answer twice",
        "sick" if apart > 1e-3 else "healthy",
        apart,
        f"relative difference of two answers{', in training mode' * training}:",
        "0, up to rounding",
        "network.eval() before sampling: dropout is on",
    )


def attention(asked: _Asked) -> Finding:
    """Attention is a weighted mean: over the pixels looked at, its weights add up to 1."""
    name, expected = "attention", "1 for every pixel"
    advice = "softmax over the keys: dim=-1 of q k^T with a row for each query"
    if not isinstance(asked.network, nn.Module):
        return Finding(name, "unknown", math.nan, "no module to look into", expected)
    few = asked.x0[:4]
    t = torch.full((len(few),), (asked.diffusion.T + 1) // 2, device=few.device)
    sums = attention_rows(asked.network, few, t, None if asked.labels is None else asked.labels[:4])
    if not len(sums):
        return Finding(name, "unknown", math.nan, "no attention of a known kind", expected)
    worst = float(sums[(sums - 1).abs().argmax()])
    verdict: Verdict = "healthy" if abs(worst - 1) < 0.01 else "sick"
    return Finding(name, verdict, worst, "weights of one pixel add up to", expected, advice)


def learned(b: ByTime) -> Finding:
    """Between the oracle's floor and what one can say without looking at other pixels."""
    ratio, unsure = b.error / b.alone, SURE * b.uncertainty / b.alone
    worst, what = float(ratio.max()), "error of x0_hat by that of single pixels, worst"
    advice = "a smaller learning rate, more steps; see that it is told t and fed the right x_t"
    verdict: Verdict = "unknown"
    if (b.error + SURE * b.uncertainty < b.floor).any():
        verdict, worst = "sick", float((b.error / b.floor).min())
        what = "error of x0_hat by the oracle's, least"
        advice = "see that x_0 does not leak into the input, and that the loss is of the right x_t"
    elif (ratio - unsure > 1).double().mean() > 0.5:
        verdict = "sick"
    elif (ratio + unsure < 1).all():
        verdict = "healthy"
    return Finding(
        "loss by t", verdict, worst, f"at {len(ratio)} t, {what}",
        "below 1, the best without neighbours, and above the oracle's", advice,
    )  # fmt: skip


def calibrated(b: ByTime) -> Finding:
    """eps_hat is a mean of eps: scaled by the slope of eps on it, it would be no better."""
    off, unsure = (b.slope - 1).abs(), SURE * b.slope_uncertainty
    verdict: Verdict = "unknown"
    if ((off - unsure) > 0.1).double().mean() >= 0.5:
        verdict = "sick"
    elif (off < 0.1).all():
        verdict = "healthy"
    return Finding(
        "calibration",
        verdict,
        float(b.slope[off.argmax()]),
        f"at {len(off)} t, slope of eps on eps_hat, farthest from 1",
        "1: a tenth more or less leaves noise, or takes image away",
        "the same schedule for training and sampling; noise times sqrt(1 - alpha_bar_t), not "
        "times the variance; data scaled as in training; the images that it was trained on, and "
        "all of them",
    )


def heard(asked: _Asked) -> Finding:
    """Told a time half or twice as late, the network must not do better.

    Where another time helps, x_t does not hold the noise that t stood for in training. A network
    that hardly hears its t does as well with any: that is unknown, and never sick.
    """
    schedule = asked.diffusion.schedule
    ratios, others, sure = [], [], []
    for t in spread_times(schedule, 5, LEAST_SNR, MOST_SNR)[1:-1]:
        told = [max(1, min(schedule.T, round(t * f))) for f in (0.5, 0.7, 1.4, 2.0)]
        own, *rest = clock(
            asked.network, asked.diffusion, asked.x0, t, [t, *told],
            asked.images, asked.labels, asked.seed,
        )  # fmt: skip
        best = min(range(4), key=lambda i: float(rest[i].mean()))
        ratio = float(rest[best].mean() / own.mean())
        unsure = (rest[best] - ratio * own).std() / own.mean() / len(own) ** 0.5
        ratios.append(ratio)
        others.append(told[best] / t)
        sure.append(ratio + SURE * float(unsure) < 0.9)
    name, expected = "noise level", "above 1: no other time fits as well"
    if not ratios or asked.diffusion.stops:
        return Finding(name, "unknown", math.nan, "no t where the image is half gone", expected)
    least = min(range(len(ratios)), key=lambda i: ratios[i])
    verdict: Verdict = "healthy" if ratios[least] > 1.02 else "unknown"  # at 1 it hears nothing
    if sum(sure) > len(sure) / 2:
        verdict = "sick"
    return Finding(
        name, verdict, ratios[least], f"told {others[least]:.2g} t, error by that told t", expected,
        "the same schedule for training and sampling, with as many steps; noise times "
        "sqrt(1 - alpha_bar_t), not times the variance; data scaled as in training",
    )  # fmt: skip


def told_time(asked: _Asked) -> Finding:
    """Told one step less or more, a network that hears single steps of its clock does worse.

    Through the errors at t - 1, t and t + 1 goes a parabola; its lowest point says by how many
    steps the network's clock is late. All early times together give one number, and leaving out
    each of them in turn its standard error. Where the parabola's bend, summed over the times, is
    not above 0 by four standard errors over images, it has no lowest point to speak of.
    """
    name, expected = "clock", "0: it is best told t itself"
    times = [t for t in EARLY if t < asked.diffusion.T]
    if len(times) < len(EARLY) or asked.diffusion.stops:
        return Finding(name, "unknown", math.nan, "too short a chain", expected)
    tilt, bend, curves = [], [], []
    for t in times:
        three = clock(
            asked.network, asked.diffusion, asked.x0, t, [t - 1, t, t + 1],
            asked.images, asked.labels, asked.seed,
        )  # fmt: skip
        three = three / three[1].mean()
        curves.append(2 * (three[0] - 2 * three[1] + three[2]))
        before, now, after = three.mean(1).tolist()
        tilt.append(before - after)
        bend.append(2 * (before - 2 * now + after))
    curve = torch.stack(curves).sum(0)
    if not curve.mean() > SURE * curve.std() / len(curve) ** 0.5:
        return Finding(name, "unknown", math.nan, "it hardly hears one step", expected)
    tilts, bends = (torch.tensor(x, device="cpu") for x in (tilt, bend))
    late = float(tilts.sum() / bends.sum())
    left = (tilts.sum() - tilts) / (bends.sum() - bends)
    n = len(times)
    error = float(((n - 1) / n * ((left - left.mean()) ** 2).sum()).sqrt())
    verdict: Verdict = "unknown"
    # A mistake is a whole number of steps: nearer to one than to none, and far from none. Weights
    # that were not averaged can be late or early by themselves: one in three of table "sick" is.
    if abs(late) - 2 * error > 0.5 and abs(late) > SURE * error:
        verdict = "sick"
    elif abs(late) < 0.5 and error < 0.25:
        verdict = "healthy"
    return Finding(
        name,
        verdict,
        late,
        f"best told t plus, in steps, +- {error:.2f}:",
        expected,
        "count t alike in training and sampling: 1..T here, 0..T - 1 elsewhere",
    )


def averaged(asked: _Asked, raw: Any) -> Finding:
    """The average of the weights should do better than the last of them."""
    name, expected = "average", "below 1: the mean of many weights is calmer than the last"
    if raw is None:
        return Finding(name, "unknown", math.nan, "weights of the last step not given", expected)
    if _same(asked.network, raw):
        return Finding(
            name, "sick", 1.0, "these are the weights of the last step; loss by theirs", expected,
            "sample from an average of the weights: step.ema of train",
        )  # fmt: skip
    ours, last = asked.whole(), asked.whole(network=raw)
    ratio = float(ours.mean() / last.mean())
    unsure = float((ours - ratio * last).std() / last.mean() / len(last) ** 0.5)
    verdict = _above(ratio, unsure, 1.05, healthy=1.02)
    return Finding(
        name, verdict, ratio, "loss of the averaged weights by that of the last ones", expected,
        "an average that forgets its start: a decay that grows with the steps, or a smaller one; "
        "until then sample from the last weights",
    )  # fmt: skip


def hidden_labels(asked: _Asked) -> Finding:
    """Told no label, the network must not do worse than the mean of its answers to all labels.

    For what it should then say is a mean of these too, and one that looks at x_t to weigh them.
    The mean of many answers is also free of errors that each has by itself, so a network that is
    not exact may do a little worse without a label and yet have been trained without.
    """
    name, expected = "no label", "below 1: told nothing, it should weigh the classes by x_t"
    network: Any = asked.network
    classes = getattr(
        unwrapped(network) if isinstance(network, nn.Module) else network, "classes", None
    )
    if classes is None or asked.labels is None:
        return Finding(name, "unknown", math.nan, "no classes", "only for guidance")
    none = classes - 1
    if int(asked.labels.max()) >= none:
        return Finding(name, "unknown", math.nan, "no class stands for a hidden label", expected)
    log = asked.diffusion.schedule.snr[1:].log()
    t = int((log - 0.0).abs().argmin()) + 1  # where the SNR is 1
    _, rows = pick(len(asked.x0), asked.images, asked.seed)
    some = asked.x0[rows]
    xt = asked.diffusion.q_sample(some, t, noise(some, asked.seed, t))

    def guess(label: int) -> Tensor:
        told = torch.full((len(some),), label, device=some.device)
        return answer(asked.network, asked.diffusion, xt, t, told)[0]

    nothing = per_image((guess(none) - some).double() ** 2)
    mean = sum(guess(label) for label in range(none)) / none
    blurred = per_image((mean - some).double() ** 2)
    ratio = float(nothing.mean() / blurred.mean())
    unsure = float((nothing - ratio * blurred).std() / blurred.mean() / len(some) ** 0.5)
    verdict = _above(ratio, unsure, 1.1, healthy=1 - SURE * unsure)
    return Finding(
        name, verdict, ratio, f"error without a label by that of all labels' mean, at t = {t}:",
        expected, "hide a tenth or a fifth of the labels in training: drop_label=0.1; where they "
        "were hidden, see that each label is its image's: labels that say nothing look like this",
    )  # fmt: skip


def gap(asked: _Asked, test: Tensor | None, labels: Tensor | None) -> Finding:
    """How much worse the network is on images that it has not seen."""
    name, expected = "gap of train and test", "near 1; 1.5 and more is learnt by heart"
    if test is None:
        return Finding(name, "unknown", math.nan, "no test images given", expected)
    if (asked.labels is None) != (labels is None):
        return Finding(name, "unknown", math.nan, "labels of one of both sets missing", expected)
    seen, unseen = asked.whole(), asked.whole(x0=test, labels=labels)
    ratio = float(unseen.mean() / seen.mean())
    unsure = ratio * math.hypot(
        float(seen.std() / seen.mean()), float(unseen.std() / unseen.mean())
    ) / len(seen) ** 0.5  # fmt: skip
    verdict = _above(ratio, unsure, 1.5, healthy=1.25)
    return Finding(
        name, verdict, ratio, "loss of test images by that of training images", expected,
        "fewer steps, dropout, flips, a narrower network, or more images",
    )  # fmt: skip


def _above(ratio: float, unsure: float, limit: float, *, healthy: float) -> Verdict:
    """Sick above the limit by four standard errors, healthy below the other."""
    if ratio - SURE * unsure > limit:
        return "sick"
    return "healthy" if ratio < healthy else "unknown"


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if not (isinstance(one, nn.Module) and isinstance(other, nn.Module)):
        return False
    a, b = (unwrapped(network).state_dict() for network in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a)


def _check_raw(network: Any, raw: Any) -> None:
    """`raw` is the network with other weights, of the same names and shapes."""
    if not (isinstance(network, nn.Module) and isinstance(raw, nn.Module)):
        return
    ours, last = (
        {name: tuple(x.shape) for name, x in unwrapped(one).state_dict().items()}
        for one in (network, raw)
    )
    for name in (*ours, *last):
        if ours.get(name) != last.get(name):
            raise ValueError(
                f"raw must be the same network with other weights; {name} has shape "
                f"{ours.get(name)} in network and {last.get(name)} in raw"
            )


# The sampler.

Sampler = Callable[[Any, tuple[int, ...]], Tensor]
CONTRAST = 1 / 3  # of the Gaussian: [-1, 1] is three deviations wide on either side


@door
def oracle_through(
    sampler: Any,
    schedule: NoiseSchedule,
    x0: Float[Tensor, "N *D"],
    *,
    objective: Objective = "eps",
    samples: int = 500,
) -> list[Finding]:
    """A sampler with a network that makes no mistakes: does it give the data back?

    Twice: with the oracle of ten of the images, whose samples must be those images, each as often
    as the next; and with that of pixels from N(0, 1/9), whose samples must have that deviation.
    What is sick here is the sampler's fault, and no training mends it. What passes may be wrong
    still: the oracle's images come back from a loop that tells the network t - 1, too. A sampler
    that takes few steps is not exact with any network: contrast says what that costs for pixels of
    this deviation.

    Args:
        sampler: `(model, shape) -> samples`, where model is `(xt, t) -> output` with t in 1..T:
            `lambda model, shape: sample(diffusion, model, shape, ddim, steps=50)`.
        schedule: with which the images are noised.
        x0: [N, ...], at least two different images in [-1, 1]; the first ten different ones of
            the first thousand are taken.
        objective: what the sampler takes the model's output for; it must be that of `diffusion`.
        samples: how many of each kind.

    Raises:
        TypeError: a sampler that cannot be called.
        ValueError: fewer than two different images, fewer than 50 samples, samples of another
            shape.
    """
    if not callable(sampler):
        raise TypeError(f"sampler must be callable, (model, shape) -> samples, got {sampler!r}")
    if samples < 50:
        raise ValueError(f"samples must be at least 50, got {samples}")
    images = x0[:1000].float().cpu()
    firsts = {image.numpy().tobytes(): i for i, image in reversed([*enumerate(images)])}
    few = images[sorted(firsts.values())[:10]]
    if len(few) < 2:
        raise ValueError(f"x0 must hold different images, two or more, got {len(x0)}")
    shape = (samples, *few.shape[1:])
    drawn = _drawn(sampler, _in_words(Oracle(schedule, few), objective), shape)
    distance = torch.cdist(drawn.flatten(1), few.flatten(1)) / math.sqrt(few[0].numel())
    nearest, which = distance.min(1)
    typical = float(nearest.median())
    share = torch.bincount(which, minlength=len(few)) / samples
    uneven = float((share - 1 / len(few)).abs().sum() / 2)
    luck = len(few) / 2 * math.sqrt((1 / len(few)) * (1 - 1 / len(few)) / samples)
    gaussian = Oracle(schedule, torch.zeros_like(few[:1]), std=CONTRAST)
    contrast = float(_drawn(sampler, _in_words(gaussian, objective), shape).std()) / CONTRAST
    advice = (
        "compare it line by line with Algorithm 2 or DDIM: the last step lands at alpha_bar_0 = 1 "
        "without noise; alpha_bar of the step it goes to, not t - 1, when steps are left out"
    )
    return [
        Finding(
            "images come back",
            _between(typical, 0.02, 0.1),
            typical,
            "deviation of a sample's pixels from the nearest image:",
            "below 0.02, a hundredth of the range",
            advice,
        ),
        Finding(
            "each as often",
            _between(uneven, 0.1 + luck, 0.2 + 2 * luck),
            uneven,
            "share of samples that went to other images than their due:",
            f"below {0.1 + luck:.2f}",
            "see that the chain starts where its noise starts: terminal SNR, first t",
        ),
        Finding(
            "contrast",
            _between(abs(math.log(max(contrast, 1e-9))), 0.1, 0.3),
            contrast,
            "deviation of samples by that of the data:",
            "0.9 to 1.1",
            "more steps; on a short chain beta in place of beta_tilde, or DDIM; sigma_t by the "
            "alpha_bar of both ends of a step",
        ),
    ]


def _between(value: float, low: float, high: float) -> Verdict:
    if math.isnan(value):
        return "sick"
    return "healthy" if value < low else "sick" if value > high else "unknown"


def _in_words(oracle: Oracle, objective: Objective) -> Any:
    """The oracle's answer as a network of this objective gives it."""
    if objective == "eps":
        return oracle
    process = ForwardProcess(oracle.schedule)

    def says(xt: Tensor, t: Tensor) -> Tensor:
        return process.convert(oracle.x0_hat(xt, t), xt, t, "x0", objective)

    return says


def _drawn(sampler: Sampler, oracle: Any, shape: tuple[int, ...]) -> Tensor:
    x = sampler(oracle, shape)
    if not isinstance(x, Tensor) or tuple(x.shape) != shape:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"the sampler must give samples of shape {shape}, got {got}")
    return x.detach().float().cpu()
