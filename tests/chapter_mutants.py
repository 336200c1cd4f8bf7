"""Break the package, one equation at a time, and see whether the chapter itself notices.

    python tests/chapter_mutants.py [equation or chapter ...] [--out FILE]

Each numbered equation has mutants of the function that computes it. The code cells of the chapter
that derives the equation then run against the broken package, up to the first check that fails:
`agree`, `disagree`, `below` or `not_below`. Any other error stops the chapter too, and is counted
apart, since no check of the chapter found it. With --out the counts are stored, for the ledger of
equations. Two run at a time, on one thread each.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "sklearn.datasets", "matplotlib.pyplot", "anywidget", "diffusers", "scipy")

# equation: (room, the line or part of a line, what it becomes), each found exactly once.
ALPHA_BAR = ("schedule", "self.alpha.cumprod(0)")
MU_X0 = ("forward", "mu_tilde_x0 = at_every_t(lambda s: s.alpha_bar_prev.sqrt() * s.beta")
MU_XT = ("forward", "mu_tilde_xt = at_every_t(lambda s: s.alpha.sqrt() * (1 - s.alpha_bar_prev)")
BETA_TILDE = ("schedule", "(1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta")
Q_STEP = (
    "forward",
    "xt = self.sqrt_alpha.at(t, x_prev) * x_prev + self.sqrt_beta.at(t, x_prev) * eps",
)
Q_SAMPLE = (
    "forward",
    "self.sqrt_alpha_bar.at(t, x0) * x0 + self.sqrt_one_minus_alpha_bar.at(t, x0) * eps",
)
KL = ("gaussian", "(mean_q - mean_p) ** 2 / variance_p) / 2")
CONVERT = ("forward", "r_wanted - slope * r)")
P_DRAW = ("diffusion", "(out.mean + sigma * noise)")
WEIGHT = ("diffusion", "self.mu_tilde_x0.float64**2 / (2 * self.sigma2.float64)")
MUTANTS: dict[str, list[tuple[str, str, str]]] = {
    "eq-q-step": [
        (*Q_STEP, "xt = self.sqrt_alpha.at(t, x_prev) * x_prev + self.sqrt_beta.at(t, x_prev) ** 2 * eps"),
        ("forward", "sqrt_alpha = at_every_t(lambda s: s.alpha.sqrt())", "sqrt_alpha = at_every_t(lambda s: s.alpha)"),
        ("forward", "sqrt_beta = at_every_t(lambda s: s.beta.sqrt())", "sqrt_beta = at_every_t(lambda s: s.beta_tilde.sqrt())"),
    ],
    "eq-q-chain": [
        ("forward", "sqrt_beta = at_every_t(lambda s: s.beta.sqrt())", "sqrt_beta = at_every_t(lambda s: s.beta)"),
        ("forward", "sqrt_alpha = at_every_t(lambda s: s.alpha.sqrt())", "sqrt_alpha = at_every_t(lambda s: s.alpha**0)"),
    ],
    "eq-alpha-bar": [
        (*ALPHA_BAR, "self.alpha.cumsum(0)"),
        (*ALPHA_BAR, "self.alpha.cumprod(0).roll(1)"),
        (*ALPHA_BAR, "(1 - self.beta.cumsum(0).clamp(max=0.9999))"),
    ],
    "eq-q-sample": [
        (*Q_SAMPLE, "self.sqrt_alpha_bar.at(t, x0) * x0 + self.one_minus_alpha_bar.at(t, x0) * eps"),
        (*Q_SAMPLE, "self.sqrt_alpha.at(t, x0) * x0 + self.sqrt_beta.at(t, x0) * eps"),
        ("forward", "sqrt_alpha_bar = at_every_t(lambda s: s.alpha_bar.sqrt())", "sqrt_alpha_bar = at_every_t(lambda s: s.alpha_bar)"),
    ],
    "eq-snr": [
        ("schedule", "return self.alpha_bar / (1 - self.alpha_bar)", "return (1 - self.alpha_bar) / self.alpha_bar"),
        ("schedule", "return self.alpha_bar / (1 - self.alpha_bar)", "return (self.alpha_bar / (1 - self.alpha_bar)).sqrt()"),
    ],
    "eq-linear-schedule": [
        ("schedule", "torch.linspace(beta_start, beta_end, T, ", "torch.linspace(beta_end, beta_start, T, "),
        ("schedule", "T: int = 1000, beta_start: float = 1e-4", "T: int = 1000, beta_start: float = 1e-3"),
    ],
    "eq-cosine-schedule": [
        ("schedule", "torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2", "torch.cos((u + s) / (1 + s) * math.pi / 2)"),
        ("schedule", "torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2", "torch.cos((u + s / 2) / (1 + s) * math.pi / 2) ** 2"),
    ],
    "eq-q-reverse": [
        ("oracle", "(kept * self.variance + fresh) / variance", "(kept * self.variance + fresh / 2) / variance"),
        ("oracle", "means = kept.sqrt() * self.means + ", "means = self.means + "),
        ("oracle", "(beta * pull).expand", "beta.expand"),
    ],
    "eq-reverse-chain": [
        ("samplers", "x, x0_hat = diffusion._p_draw(out, t, z(s)), out.x0_hat", "x, x0_hat = out.mean, out.x0_hat"),
        ("samplers", "for t in _bar(range(first, 0, -1), progress):\n        s = diffusion.times[t - 1]", "for t in _bar(range(first, 1, -1), progress):\n        s = diffusion.times[t - 1]"),
    ],
    "eq-reverse-step": [
        ("diffusion", "mean = self._mu_tilde(x0_hat, xt, t)", "mean = x0_hat"),
        ("diffusion", "mean = self._mu_tilde(x0_hat, xt, t)", "mean = self._mu_tilde(xt, x0_hat, t)"),
        ("diffusion", 'self.schedule.beta if self.variance == "beta"', 'self.schedule.beta.sqrt() if self.variance == "beta"'),
    ],
    "eq-bound": [
        ("bound", "total -= gaussian_nll(xt,", "total += gaussian_nll(xt,"),
        ("bound", "total += gaussian_nll(x_prev, out.mean, out.variance)", "total -= gaussian_nll(x_prev, out.mean, out.variance)"),
    ],
    "eq-bound-path": [
        ("bound", "return total + gaussian_nll(x_prev,", "return total - gaussian_nll(x_prev,"),
        ("bound", "total += diffusion.decoder(out, x0)", "pass"),
    ],
    "eq-bound-terms": [
        ("bound", "return self.prior + self.kl.sum(1) + self.decoder", "return self.prior + self.kl.mean(1) + self.decoder"),
        ("bound", "return self.prior + self.kl.sum(1) + self.decoder", "return self.kl.sum(1) + self.decoder"),
        ("diffusion", "gaussian_kl(self._mu_tilde(x0, xt, t), variance, out.mean, out.variance)", "gaussian_kl(out.mean, out.variance, self._mu_tilde(x0, xt, t), variance)"),
    ],
    "eq-gaussian-kl": [
        (*KL, "(mean_q - mean_p) ** 2 / variance_q) / 2"),
        (*KL, "(mean_q - mean_p) ** 2 / variance_p)"),
        ("gaussian", 'reduce(kl, "b ... -> b", "sum")', 'reduce(kl, "b ... -> b", "mean")'),
    ],
    "eq-bits-per-dim": [
        ("bound", '"""L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""\n        return self.total / (math.log(2) * self.dims)\n\n    @property\n    def rate', '"""L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""\n        return self.total / self.dims\n\n    @property\n    def rate'),
        ("bound", '"""L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""\n        return self.total / (math.log(2) * self.dims)\n\n    @property\n    def rate', '"""L in bits per dimension: nats / (log(2) dims). Eq. {eq}`eq-bits-per-dim`."""\n        return self.total / math.log(2)\n\n    @property\n    def rate'),
    ],
    "eq-prior-kl": [
        ("bound", "mean, variance = diffusion.q_mean_variance(x0, diffusion.T)", "mean, variance = diffusion.q_mean_variance(x0, diffusion.T - 1)"),
        ("bound", "return gaussian_kl(mean, variance, torch.zeros_like(mean), torch.ones_like(variance))", "return gaussian_kl(mean, variance.sqrt(), torch.zeros_like(mean), torch.ones_like(variance))"),
    ],
    "eq-posterior": [
        (*MU_X0, "mu_tilde_x0 = at_every_t(lambda s: s.alpha_bar.sqrt() * s.beta"),
        ("forward", "return self._mu_tilde(x0, xt, t), self.beta_tilde.column(t, x0)", "return self._mu_tilde(x0, xt, t), self.sqrt_beta.column(t, x0) ** 2"),
    ],
    "eq-mu-tilde": [
        (*MU_X0, "mu_tilde_x0 = at_every_t(lambda s: s.alpha_bar_prev * s.beta"),
        (*MU_XT, "mu_tilde_xt = at_every_t(lambda s: s.alpha_bar.sqrt() * (1 - s.alpha_bar_prev)"),
        ("forward", "return self._mu_tilde(x0, xt, t), self", "return self._mu_tilde(xt, x0, t), self"),
    ],
    "eq-beta-tilde": [
        (*BETA_TILDE, "(1 - self.alpha_bar) / (1 - self.alpha_bar_prev) * self.beta"),
        (*BETA_TILDE, "(1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta.sqrt()"),
    ],
    "eq-kl-means": [
        ("diffusion", "gaussian_kl(self._mu_tilde(x0, xt, t), variance, out.mean, out.variance)", "gaussian_kl(x0, variance, out.mean, out.variance)"),
        (*KL, "(mean_q - mean_p).abs() / variance_p) / 2"),
    ],
    "eq-mu-eps": [
        (*CONVERT, "r_wanted + slope * r)"),
        ("forward", '"eps": (-a / b, 1 / b)', '"eps": (-a / b, 1 / b**2)'),
    ],
    "eq-eps-loss": [
        (*WEIGHT, "self.mu_tilde_x0.float64**2 / self.sigma2.float64"),
        (*WEIGHT, "self.mu_tilde_x0.float64 / (2 * self.sigma2.float64)"),
    ],
    "eq-v": [
        ("forward", "return (a * eps - b * x0).to(x0)", "return (a * eps + b * x0).to(x0)"),
        ("forward", "return (a * eps - b * x0).to(x0)", "return (b * eps - a * x0).to(x0)"),
    ],
    "eq-model-range": [
        ("images.data", "return 2 * values.to(dtype) / (levels - 1) - 1", "return 2 * values.to(dtype) / levels - 1"),
        ("images.data", "return 2 * values.to(dtype) / (levels - 1) - 1", "return values.to(dtype) / (levels - 1)"),
    ],
    "eq-decoder": [
        ("gaussian", "variance.to(dtype).sqrt()", "variance.to(dtype)"),
        ("gaussian", "torch.where(level >= last, inf,", "torch.where(level >= last + 1, inf,"),
        ("gaussian", "((2 * level + 1) / last - 1 - mean) / sigma)", "((2 * level + 2) / last - 1 - mean) / sigma)"),
    ],
    "eq-weight": [
        (*WEIGHT, "self.mu_tilde_x0.float64**2 / (2 * self.schedule.beta_tilde)"),
        ("diffusion", "return on_x0 * x0_per_output.float64**2", "return on_x0 * x0_per_output.float64.abs()"),
    ],
    "eq-l-simple": [
        ("diffusion", "error = (guess - self._target(self.objective, x0, xt, eps, t)) ** 2", "error = (guess - self._target(self.objective, x0, xt, eps, t)).abs()"),
        ("diffusion", 'loss = reduce(error, "b ... -> b", "mean")', 'loss = reduce(error, "b ... -> b", "sum")'),
        ("diffusion", "error = (guess - self._target(self.objective, x0, xt, eps, t)) ** 2", "error = (guess - xt) ** 2"),
    ],
    "eq-p-sample": [
        (*P_DRAW, "(out.mean + 0 * sigma * noise)"),
        ("diffusion", "torch.where(t > 1, self.sigma2.float64.sqrt(), 0.0)", "torch.where(t > 1, self.sigma2.float64, 0.0)"),
        ("diffusion", "torch.where(t > 1, self.sigma2.float64.sqrt(), 0.0)", "self.sigma2.float64.sqrt()"),
    ],
    "eq-score": [
        ("oracle", "eps = rest.sqrt() * ", "eps = rest * "),
        ("oracle", "r[..., None] * off / variance", "r[..., None] * off"),
    ],
    "eq-time-embedding": [
        ("blocks", "torch.exp(-math.log(10000) / (half - 1) *", "torch.exp(-math.log(10000) / half *"),
        ("blocks", "torch.cat([angles.sin(), angles.cos()], dim=1)", "torch.cat([angles.cos(), angles.sin()], dim=1)"),
    ],
    "eq-attention": [
        ("blocks", 'shape = "b (three heads d) h w -> three b heads (h w) d"\n        qkv', 'shape = "b (three d heads) h w -> three b heads (h w) d"\n        qkv'),
        ("blocks", "q, k, v = qkv.contiguous()", "k, q, v = qkv.contiguous()"),
    ],
    "eq-linear-attention": [
        ("blocks", "k.softmax(dim=1), v)", "k.softmax(dim=3), v)"),
        ("blocks", "q.softmax(dim=3), context)", "q, context)"),
        ("blocks", "scale = 1 / (q.shape[1] * math.sqrt(q.shape[3]))", "scale = 1 / math.sqrt(q.shape[3])"),
    ],
    "eq-frechet": [
        ("quality.metrics", ".trace() - 2 * cross", ".trace() - cross"),
        ("quality.metrics", "return mean, apart.T @ apart / (len(features) - 1)", "return mean, apart.T @ apart / len(features) ** 0.5"),
        ("quality.metrics", "apart = (_double(mean_a) - _double(mean_b)).square().sum()", "apart = (_double(mean_a) - _double(mean_b)).square().sum().sqrt()"),
    ],
    "eq-inception-score": [
        ("quality.metrics", "scores.append(kl.mean().exp())", "scores.append(kl.mean())"),
        ("quality.metrics", "log_p_y = log_p_yx.logsumexp(0) - math.log(len(log_p_yx))", "log_p_y = log_p_yx.mean(0)"),
    ],
    "eq-rate": [
        ("bound", "later.flip(1).cumsum(1).flip(1)", "later.cumsum(1)"),
        ("bound", "return (self.prior[:, None] + later) / (math.log(2) * self.dims)", "return later / (math.log(2) * self.dims)"),
        ("bound", "return (self.prior[:, None] + later) / (math.log(2) * self.dims)", "return (self.prior[:, None] + later) / self.dims"),
    ],
    "eq-distortion": [
        ("bound", "return self.mse.sqrt() * (self.levels - 1) / 2", "return self.mse * (self.levels - 1) / 2"),
        ("bound", "return self.mse.sqrt() * (self.levels - 1) / 2", "return self.mse.sqrt() * (self.levels - 1)"),
    ],
    "eq-learned-variance": [
        ("diffusion", "share = (between + 1) / 2", "share = between"),
        ("diffusion", "share * self.log_beta.at(t, xt) + (1 - share) * self.log_beta_tilde.at(t, xt)", "(1 - share) * self.log_beta.at(t, xt) + share * self.log_beta_tilde.at(t, xt)"),
    ],
    "eq-hybrid": [
        ("diffusion", "loss = loss + 0.001 * self.T * term", "loss = loss + 0.001 * term"),
        ("diffusion", "frozen = torch.cat([guess.detach(),", "frozen = torch.cat([guess,"),
    ],
    "eq-min-snr": [
        ("diffusion", '"min_snr": snr.clamp(max=gamma)', '"min_snr": snr.clamp(min=gamma)'),
        ("diffusion", '"min_snr": snr.clamp(max=gamma)', '"min_snr": snr.sqrt().clamp(max=gamma)'),
    ],
    "eq-ddim": [
        ("samplers", "direction = (1 - alpha_bar_prev - sigma2).clamp(min=0).sqrt().tolist()", "direction = (1 - alpha_bar_prev).clamp(min=0).sqrt().tolist()"),
        ("samplers", "eta**2 * chain.schedule.beta_tilde", "eta**2 * chain.schedule.beta"),
        ("samplers", "direction[t] * out.eps_hat", "direction[t] * out.eps_hat.sign()"),
    ],
    "eq-guidance": [
        ("guidance", "torch.cat([without + scale", "torch.cat([with_label + scale"),
        ("guidance", "scale * (with_label - without)", "(1 + scale) * (with_label - without)"),
    ],
    "eq-flow-eps": [
        ("samplers", "(1 - alpha_bar_prev - sigma2).clamp(min=0).sqrt().tolist()", "(1 - alpha_bar_prev - sigma2).clamp(min=0).tolist()"),
        ("samplers", "alpha_bar_prev.sqrt().tolist(), sigma2.sqrt().tolist()", "alpha_bar_prev.tolist(), sigma2.sqrt().tolist()"),
    ],
    "eq-heun": [
        ("flow.solvers", "best = (x0_hat + then.x0_hat) / 2", "best = then.x0_hat"),
        ("flow.solvers", "model, ahead, t - 1, clip, x0_hat", "model, ahead, t, clip, x0_hat"),
    ],
    "eq-dpm-solver": [
        ("flow.solvers", "h / (2 * h_before)", "1 / 2"),
        ("flow.solvers", "(x0_hat - before)", "(before - x0_hat)"),
    ],
    "eq-flow-likelihood": [
        ("flow.likelihood", "log = log + h / 2 * (divergence + divergence_then)", "log = log - h / 2 * (divergence + divergence_then)"),
        ("flow.likelihood", "phi = diffusion.schedule.alpha_bar.sqrt().acos()", "phi = diffusion.schedule.alpha_bar.acos()"),
    ],
    "eq-line": [
        ("forward", "xt / self.per_line", "xt * self.per_line"),
        ("schedule", "return noise / (signal + noise)", "return noise**2"),
        ("schedule", "(1 - s) ** 2 / ((1 - s) ** 2 + s**2)", "1 - s**2"),
    ],
    "eq-u": [
        ("forward", "return eps - x0\n", "return x0 - eps\n"),
        ("forward", "return eps - x0\n", "return eps\n"),
    ],
    "eq-from-u": [
        ("forward", '"u": (-(a + b) / b, 1 / b)', '"u": (-1 / b, 1 / b)'),
        ("forward", '"u": (-(a + b) / b, 1 / b)', '"u": (-(a - b) / b, 1 / b)'),
    ],
    "eq-zero-snr": [
        ("schedule", "(root - root[-1]) * root[1] / (root[1] - root[-1])", "(root - root[-1]) / (1 - root[-1])"),
        ("schedule", "root = schedule.alpha_bar.sqrt()", "root = schedule.alpha_bar.clone()"),
    ],
}  # fmt: skip


def chapter_of() -> dict[str, Path]:
    """The chapter that each equation is numbered in."""
    return {
        label: path
        for path in sorted((ROOT / "book").glob("[0-9]*.ipynb"))
        for label in MUTANTS
        if f"$$ ({label})" in path.read_text()
    }


def source(room: str, root: Path = ROOT) -> Path:
    return root / "ddpm_lite" / f"{room.replace('.', '/')}.py"


def lost() -> list[str]:
    """Mutants whose line is no longer there, or there twice."""
    return [
        f"{equation}: {room} has {found} times, where one was expected: {old}"
        for equation, mutants in MUTANTS.items()
        for room, old, _ in mutants
        if (found := source(room).read_text().count(old)) != 1
    ]


def fate(task: tuple[Path, str, str, str]) -> tuple[str, float, str]:
    """Whether a check of the chapter caught it, another error stopped it, or neither; and why."""
    chapter, room, old, new = task
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        quiet = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "ddpm_lite", copy / "ddpm_lite", ignore=quiet)
        path = source(room, copy)
        path.write_text(path.read_text().replace(old, new))
        child = os.fork()
        if child == 0:
            _in_child(chapter, copy)
        os.waitpid(child, 0)
        said = copy / "said"
        what, why = said.read_text().split("\n", 1) if said.exists() else ("stopped", "it ended")
    return what, time.perf_counter() - start, why


def _in_child(chapter: Path, copy: Path) -> None:
    """Run the chapter's code cells against the package in `copy`; write down how it ended."""
    os.chdir(copy)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.path[0] = os.environ["PYTHONPATH"] = str(copy)
    what, why = "SURVIVED", ""
    try:
        _run(chapter)
    except AssertionError as error:
        frames = traceback.extract_tb(error.__traceback__)
        checked = any("ddpm_lite/checks" in frame.filename for frame in frames)
        what, why = "caught" if checked else "stopped", str(error).splitlines()[0]
    except BaseException as error:  # whatever a broken package does
        what, why = "stopped", f"{type(error).__name__}: {error}"
    finally:
        Path("said").write_text(f"{what}\n{why}")
        os._exit(0)


def _run(chapter: Path) -> None:
    import matplotlib as mpl
    from IPython.core.interactiveshell import InteractiveShell

    mpl.use("Agg")
    warnings.simplefilter("ignore")
    shell: Any = InteractiveShell.instance()  # for what a cell asks of IPython
    names = shell.user_ns
    for number, cell in enumerate(nbformat.read(chapter, as_version=4).cells):
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", []):
            code = compile(shell.transform_cell(cell.source), f"cell {number}", "exec")
            exec(code, names)
            mpl.pyplot.close("all")  # type: ignore[attr-defined]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("which", nargs="*", help="equations, or chapters such as 02")
    parser.add_argument("--out", type=Path, help="where to store the counts, as JSON")
    asked = parser.parse_args()
    if lost():
        sys.exit("\n".join(lost()))
    chapters = chapter_of()
    chosen = [
        equation
        for equation in MUTANTS
        if not asked.which or {equation, chapters[equation].name[:2]} & set(asked.which)
    ]
    for name in LIBRARIES:
        import_module(name)
    for chapter in sorted({chapters[equation] for equation in chosen}):
        what, seconds, why = fate((chapter, "schedule", "", ""))  # must pass as it is
        if what != "SURVIVED":
            sys.exit(f"{chapter.name} fails without any mutant: {why}")
        print(f"{chapter.name}: {seconds:.1f} s as it is", flush=True)
    todo = [(equation, *mutant) for equation in chosen for mutant in MUTANTS[equation]]
    counts = {equation: Counter(mutants=len(MUTANTS[equation])) for equation in chosen}
    with Pool(2) as pool:
        tasks = [(chapters[equation], *mutant) for equation, *mutant in todo]
        for (equation, room, old, new), (what, seconds, why) in zip(
            todo, pool.imap(fate, tasks), strict=True
        ):
            counts[equation][what] += 1
            print(f"{equation:20} {seconds:5.1f} s  {what:8} {room}: {old!r} -> {new!r}")
            print(f"{'':30} {why[:120]}", flush=True)
    caught = sum(count["caught"] for count in counts.values())
    print(f"{len(todo)} mutants of {len(chosen)} equations, {caught} caught by a chapter's check")
    if asked.out:
        kinds = ("mutants", "caught", "stopped")
        rows = {name: {kind: count[kind] for kind in kinds} for name, count in counts.items()}
        asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(count["caught"] < count["mutants"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
