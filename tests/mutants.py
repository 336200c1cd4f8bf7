"""Break the mathematics on purpose, one change at a time, and see which tests notice.

    python tests/mutants.py [room ...]

Each mutant is one change in a copy of the package; the room's own unit tests then run against
it, up to their first failure. Prints the survivors, and ends with 1 if there are any that
EQUIVALENT does not explain. Two run at a time, on one thread each.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]

# room: (the line or part of a line, what it becomes), each found exactly once in its file.
MUTANTS: dict[str, list[tuple[str, str]]] = {
    "schedule": [
        ("torch.cat([torch.zeros(1), beta.double()])", "torch.cat([beta.double(), beta[-1:]])"),
        ("torch.tensor(beta, dtype=torch.float64)", "torch.tensor(beta)"),
        ("return len(self.beta) - 1", "return len(self.beta)"),
        ("return 1 - self.beta\n", "return 1 + self.beta\n"),
        ("return 1 - self.beta\n", "return (1 - self.beta).sqrt()\n"),
        ("self.alpha.cumprod(0)", "self.alpha.cumsum(0)"),
        ("self.alpha.cumprod(0)", "self.beta.cumprod(0)"),
        ("self.alpha_bar[:1], self.alpha_bar[:-1]", "self.alpha_bar[1:], self.alpha_bar[-1:]"),
        ("(1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta",
         "(1 - self.alpha_bar) / (1 - self.alpha_bar_prev) * self.beta"),
        ("(1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta",
         "(1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.alpha"),
        ("return self.alpha_bar / (1 - self.alpha_bar)", "return (1 - self.alpha_bar) / self.alpha_bar"),
        ("return self.alpha_bar / (1 - self.alpha_bar)",
         "return (self.alpha_bar / (1 - self.alpha_bar)).sqrt()"),
        ("1 - alpha_bar[1:] / alpha_bar[:-1])", "1 - alpha_bar[:-1] / alpha_bar[1:])"),
        ("alpha_bar = self.alpha_bar[[0, *times]]", "alpha_bar = self.alpha_bar[[1, *times]]"),
        ("* self.T / T\n", "* (self.T - 1) / T\n"),
        ("-torch.expm1(log.diff())", "-torch.expm1(log.diff() / 2)"),
        ("torch.linspace(beta_start, beta_end, T, ", "torch.linspace(beta_end, beta_start, T, "),
        ("torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2", "torch.cos((u + s) / (1 + s) * math.pi / 2)"),
        ("torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2", "torch.cos((u + s) * math.pi / 2) ** 2"),
        ("(1 - f[1:] / f[:-1]).clamp", "(1 - f[1:] / f[0]).clamp"),
        ("left = f[-1] - f ", "left = 1 - f "),
        ("T + 1, dtype=torch.float64) / tau)", "T + 1, dtype=torch.float64) * tau)"),
        ("round(i * T / steps)", "1 + (i - 1) * (T // steps)"),
    ],
    "gaussian": [
        ("(excess - excess.log1p()", "(excess + excess.log1p()"),
        ("(mean_q - mean_p) ** 2 / variance_p) / 2", "(mean_q - mean_p).abs() / variance_p) / 2"),
        ("(mean_q - mean_p) ** 2 / variance_p) / 2", "(mean_q - mean_p) ** 2 / variance_q) / 2"),
        ("(mean_q - mean_p) ** 2 / variance_p) / 2", "(mean_q - mean_p) ** 2 / variance_p)"),
        ("torch.as_tensor(variance_q - variance_p) / variance_p",
         "torch.as_tensor(variance_q - variance_p) / variance_q"),
        ('reduce(kl, "b ... -> b", "sum")', 'reduce(kl, "b ... -> b", "mean")'),
        ("(2 * torch.pi * variance).log()) / 2", "(torch.pi * variance).log()) / 2"),
        ("variance.to(dtype).sqrt()", "variance.to(dtype)"),
        ("last = levels - 1", "last = levels"),
        ("level >= last, inf", "level > last, inf"),
        ("level <= 0, -inf", "level < 0, -inf"),
        ("((2 * level + 1) / last - 1 - mean)", "((2 * level + 2) / last - 1 - mean)"),
        ("((2 * level - 1) / last - 1 - mean)", "((2 * level + 1) / last - 1 - mean)"),
        ("mirror = above + below > 0", "mirror = above + below < 0"),
        ("torch.where(mirror, -above, below)", "torch.where(mirror, above, below)"),
        ("dtype = torch.float32 if x0.device", "dtype = torch.float32 if True or x0.device"),
    ],
    "forward": [
        ("a, b = s.alpha_bar.sqrt(), (1 - s.alpha_bar).sqrt()", "a, b = s.alpha_bar, 1 - s.alpha_bar"),
        ("s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar)",
         "s.alpha_bar.sqrt() * s.beta / (1 - s.alpha_bar)"),
        ("s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar)",
         "s.alpha_bar_prev.sqrt() * s.beta / (1 - s.alpha_bar_prev)"),
        ("s.alpha.sqrt() * (1 - s.alpha_bar_prev) / (1 - s.alpha_bar)",
         "s.alpha * (1 - s.alpha_bar_prev) / (1 - s.alpha_bar)"),
        ('"sqrt_beta": s.beta.sqrt()', '"sqrt_beta": s.beta'),
        ('"sqrt_alpha": s.alpha.sqrt()', '"sqrt_alpha": s.alpha'),
        ('"one_minus_alpha_bar": 1 - s.alpha_bar', '"one_minus_alpha_bar": (1 - s.alpha_bar).sqrt()'),
        ('"one_minus_alpha_bar": 1 - s.alpha_bar', '"one_minus_alpha_bar": 1 - s.alpha_bar.float()'),
        ('"beta_tilde": s.beta_tilde', '"beta_tilde": s.beta'),
        ('"eps": (-a / b, 1 / b)', '"eps": (-a / b, 1 / a)'),
        ('"v": (-1 / b, a / b)', '"v": (1 / b, -a / b)'),
        ("r_wanted - slope * r\n", "r_wanted + slope * r\n"),
        ("slope = p_wanted / p\n", "slope = p / p_wanted\n"),
        ("(keep * x_prev + noise * eps)", "(keep * x_prev - noise * x_prev + noise * eps)"),
        ("(signal * x0 + noise * eps).to(x0.dtype)", "(noise * x0 + signal * eps).to(x0.dtype)"),
        ("(signal * eps - noise * x0)", "(signal * eps + noise * x0)"),
        ("(signal * eps - noise * x0)", "(noise * eps - signal * x0)"),
        ('* x0 + self._at("mu_tilde_xt", t, xt) * xt', '* xt + self._at("mu_tilde_xt", t, xt) * x0'),
        ("torch.cat([nan, table[1:]])", "torch.cat([table[1:2], table[1:]])"),
        ("torch.cat([nan, table[1:]])", "torch.cat([table[1:], nan])"),
        ("index_select(0, t).view", "index_select(0, t - 1).view"),
        ("return self._numbers[name][t]", "return self._numbers[name][t - 1]"),
        ("if like.dtype.itemsize >= 4:", "if like.dtype.itemsize >= 2:"),
        ("if low < 1 or high > T:", "if low < 0 or high > T:"),
        ("if low < 1 or high > T:", "if low < 1 or high > T + 1:"),
    ],
    "reverse": [
        ("lower[1] = lower[2] if", "lower[1] = lower[1] if"),
        ('sigma2 = schedule.beta.clone() if variance == "beta"',
         'sigma2 = schedule.beta.clone() if variance != "beta"'),
        ("sigma2[1] = first_variance", "sigma2[2] = first_variance"),
        ('"log_beta": schedule.beta.log()', '"log_beta": schedule.beta.log() / 2'),
        ("torch.arange(self.T + 1) > 1, sigma2.sqrt(), 0.0", "torch.arange(self.T + 1) > 0, sigma2.sqrt(), 0.0"),
        ("torch.arange(self.T + 1) > 1, sigma2.sqrt(), 0.0", "torch.arange(self.T + 1) > 1, sigma2, 0.0"),
        ("short.times = [self.times[t] for t in places]", "short.times = places"),
        ("short._set_tables(short._tables64 | lines)", "pass"),
        ("share = (v + 1) / 2", "share = v"),
        ("share * log_beta + (1 - share) * log_beta_tilde", "(1 - share) * log_beta + share * log_beta_tilde"),
        ("share * log_beta + (1 - share) * log_beta_tilde).exp()",
         "share * log_beta + (1 - share) * log_beta_tilde)"),
        ("x0_hat = x0_hat.clamp(-1, 1)", "x0_hat = x0_hat.clamp(0, 1)"),
        ("eps_hat = self._convert(x0_hat, xt, t, \"x0\", \"eps\")",
         "eps_hat = self._convert(output, xt, t, self.objective, \"eps\")"),
        ("late = t > 1 if isinstance", "late = t > 0 if isinstance"),
        ("else (t > 1).view", "else (t > 0).view"),
        ("sigma = out.variance.sqrt() * late", "sigma = out.variance * late"),
        ("Prediction(self._mu_tilde(x0_hat, xt, t)", "Prediction(self._mu_tilde(xt, x0_hat, t)"),
        ("told = self._many(self.times[t], xt)", "told = self._many(t, xt)"),
        ("self._told[t.device].index_select(0, t)", "t"),
        ("(out.mean + sigma * noise)", "(out.mean - sigma * noise)"),
    ],
    "diffusion": [
        ('"b ... -> b", "mean")', '"b ... -> b", "sum")'),
        ("- self.target(self.objective, x0, xt, eps, t)) ** 2", "- self.target(self.objective, x0, xt, eps, t)).abs()"),
        ("torch.rand(()) < 0.5 if", "torch.rand(()) < 0.9 if"),
        ("            with torch.no_grad():\n", "            if True:\n"),
        ("loss + 0.001 * self.T * term", "loss + 0.001 * term"),
        ("(math.log(2) * x0[0].numel())", "x0[0].numel()"),
        ("torch.cat([guess.detach(),", "torch.cat([guess,"),
        ("if t == 1 else self.kl(", "if t != 1 else self.kl("),
        ("torch.where(t == 1, self.decoder", "torch.where(t == 2, self.decoder"),
        ('variance = self._column("kl_beta_tilde", t, xt)', 'variance = self._column("sigma2", t, xt)'),
        ("gaussian_kl(self._mu_tilde(x0, xt, t), variance, out.mean, out.variance)",
         "gaussian_kl(out.mean, out.variance, self._mu_tilde(x0, xt, t), variance)"),
        ('"simple": snr,', '"simple": 1 / snr,'),
        ('table["mu_tilde_x0"] ** 2 / (2 * table["sigma2"])', 'table["mu_tilde_x0"] ** 2 / table["sigma2"]'),
        ('table["mu_tilde_x0"] ** 2 / (2 * table["sigma2"])', 'table["mu_tilde_x0"] / (2 * table["sigma2"])'),
        ("snr.clamp(max=gamma)", "snr.clamp(min=gamma)"),
        ('on_x0 * table[f"x0 per {self.objective}"] ** 2', 'on_x0 * table[f"x0 per {self.objective}"]'),
        ("index_select(0, self._many(t, x0))", "index_select(0, self._many(t, x0) - 1)"),
    ],
    "elbo": [
        ("self.prior + self.kl.sum(1) + self.decoder", "self.prior + self.kl.mean(1) + self.decoder"),
        ("self.prior + self.kl.sum(1) + self.decoder", "self.kl.sum(1) + self.decoder"),
        ("later.flip(1).cumsum(1).flip(1)", "later.cumsum(1)"),
        ("torch.cat([self.kl, torch.zeros_like(self.kl[:, :1])], dim=1)",
         "torch.cat([torch.zeros_like(self.kl[:, :1]), self.kl], dim=1)"),
        ("self.mse.sqrt() * (self.levels - 1) / 2", "self.mse.sqrt() * (self.levels - 1)"),
        ("self.mse.sqrt() * (self.levels - 1) / 2", "self.mse * (self.levels - 1) / 2"),
        ("torch.arange(2, T + 1, device=x0.device)", "torch.arange(1, T, device=x0.device)"),
        (".repeat_interleave(B)  #", ".repeat(B)  #"),
        ('rearrange(kl, "(t b) -> b t", b=B)', 'kl.view(B, -1)'),
        ("kl, mse_later = _evaluate(diffusion, model, x0, image.repeat(T - 1), later, *how)",
         "kl, mse_later = _evaluate(diffusion, model, x0, image.repeat_interleave(T - 1), later, *how)"),
        ("row + 2, *how", "row + 1, *how"),
        ("/ chance[row]).view", ").view"),
        ("variance + kl.var(1) / samples", "variance + kl.var(1)"),
        ("variance + kl.var(1) / samples", "kl.var(1) / samples"),
        ("prior + decoder.mean(1), decoder.var(1)", "prior + decoder.sum(1), decoder.var(1)"),
        ("total -= gaussian_nll(xt,", "total += gaussian_nll(xt,"),
        ("(1 - beta).sqrt().to(x0) * x_prev", "x_prev"),
        ("total += gaussian_nll(x_prev, out.mean, out.variance)", "total += gaussian_nll(xt, out.mean, out.variance)"),
        ("xt = diffusion.q_step(x_prev, t)", "xt = diffusion.q_sample(x0, t)"),
        ("diffusion.q_mean_variance(x0, diffusion.T)", "diffusion.q_mean_variance(x0, 1)"),
        ("for rows in range(0, len(image), chunk):", "for rows in range(0, len(image), len(image)):"),
        ('reduce((x - out.x0_hat) ** 2, "b ... -> b", "mean")', 'reduce((x - out.mean) ** 2, "b ... -> b", "mean")'),
        ("model, xt, s, clip)\n        kl = ", "model, xt, s, not clip)\n        kl = "),
    ],
    "oracle": [
        (".view(-1, *[1] * (means.ndim - 1))", ".view(1, -1)"),
        ("(weights / weights.sum()).log()", "(weights / weights.sum())"),
        ("_log_joint(off, variance).softmax(1)\n        eps", "_log_joint(off, variance).softmax(0)\n        eps"),
        ("eps = noise.sqrt() * ", "eps = noise * "),
        ("r[..., None] * off / variance", "r[..., None] * off"),
        ("signal.sqrt() * self.variance / variance * off", "signal * self.variance / variance * off"),
        ("best = self.means + ", "best = self.means - "),
        ("- signal.sqrt() * self.means\n", "- signal * self.means\n"),
        ("signal * self.variance + noise", "self.variance + noise"),
        ("signal * self.variance + noise", "signal.sqrt() * self.variance + noise"),
        ("(2 * math.pi * variance).log()) / 2", "variance.log()) / 2"),
        ("self.log_weights + reduce(log", "reduce(log"),
        ("self.variance[k].sqrt() * noise", "self.variance[k] * noise"),
        ("slope = (1 - beta[t] / total)", "slope = (1 + beta[t] / total)"),
        ("offset = beta[t] * math.sqrt(a) * mean", "offset = beta[t] * a * mean"),
        ("v.append(slope**2 * v[-1]", "v.append(slope * v[-1]"),
        ("total = a * std**2 + 1 - a", "total = a * std + 1 - a"),
        ("error = std**2 * (1 - a) /", "error = std**2 * a /"),
        ("(a[-1] * (mean**2 + std**2 - 1) - (-a[-1]).log1p()) / 2",
         "(a[-1] * (mean**2 + std**2 - 1) + (-a[-1]).log1p()) / 2"),
        ("(a[-1] * (mean**2 + std**2 - 1) -", "(a[-1] * (mean + std**2 - 1) -"),
        ("(2 * math.pi * sigma2[1]).log() + error[1]", "(2 * math.pi * sigma2[1]).log() + error[0]"),
        ("(schedule.alpha_bar_prev.sqrt() * schedule.beta)[later]", "(a.sqrt() * schedule.beta)[later]"),
        ("apart = pull**2 * error", "apart = pull * error"),
        ("ratio = schedule.beta_tilde[later]", "ratio = schedule.beta[later]"),
        ("return prior, (ratio - 1 - ratio.log() + apart) / 2", "return prior, (ratio - 1 + ratio.log() + apart) / 2"),
        ("not bool((sigma2[1:] > 0).all())", "not bool((sigma2 > 0).any())"),
    ],
    "samplers": [
        ("x, x0_hat = diffusion.p_draw(out, t, randn()), out.x0_hat",
         "x, x0_hat = diffusion.p_draw(out, t, x), out.x0_hat"),
        ("for t in _bar(range(first, 0, -1), progress):\n        with torch.inference_mode():  #",
         "for t in _bar(range(first, 1, -1), progress):\n        with torch.inference_mode():  #"),
        ("yield SampleStep(diffusion.times[t - 1]", "yield SampleStep(diffusion.times[t]"),
        ("sigma2 = eta**2 *", "sigma2 = eta *"),
        ("signal = chain.schedule.alpha_bar_prev.sqrt()", "signal = chain.schedule.alpha_bar.sqrt()"),
        ("(1 - chain.schedule.alpha_bar_prev - sigma2).sqrt()", "(1 - chain.schedule.alpha_bar_prev).sqrt()"),
        ("(1 - chain.schedule.alpha_bar_prev - sigma2).sqrt()",
         "(1 - chain.schedule.alpha_bar_prev + sigma2).sqrt()"),
        ("sigma = sigma2.sqrt().tolist()", "sigma = sigma2.tolist()"),
        ("signal[t] * out.x0_hat + noise[t] * out.eps_hat", "signal[t] * out.mean + noise[t] * out.eps_hat"),
        ("chain.p_mean_variance(model, x, t, clip, x0_hat)", "chain.p_mean_variance(model, x, t, clip)"),
        ("diffusion.p_mean_variance(model, x, t, clip, x0_hat)", "diffusion.p_mean_variance(model, x, t, clip)"),
        ("chain.p_mean_variance(model, x, t, clip, x0_hat)", "chain.p_mean_variance(model, x, t, True, x0_hat)"),
        ("x0_hat = (x_prev - noise[t - 1] * eps_hat) / signal[t - 1]",
         "x0_hat = (x_prev - noise[t] * eps_hat) / signal[t]"),
        ("for _ in range(1 + refine):", "for _ in range(1):"),
        ("x = signal[t] * x0_hat + noise[t] * eps_hat", "x = signal[t] * x0_hat - noise[t] * eps_hat"),
        ("(1 - share) * noised(x0) + share * noised(other)", "share * noised(x0) + (1 - share) * noised(other)"),
        ("t_start=diffusion.times[t],", "t_start=None,"),
        ("return diffusion.times.index(t_start), x, randn", "return diffusion.T, x, randn"),
        ("return end.clone()", "return end"),
    ],
    "blocks": [
        ("-math.log(10000) / (half - 1)", "-math.log(10000) / half"),
        ("-math.log(10000) / (half - 1)", "-math.log(1000) / (half - 1)"),
        ("torch.cat([angles.sin(), angles.cos()], dim=1)", "torch.cat([angles.sin(), angles.sin()], dim=1)"),
        ("u = t[:, None] / 1000", "u = t[:, None]"),
        ("2 * math.pi * self.frequencies * u", "math.pi * self.frequencies * u"),
        ("self.frequencies = nn.Parameter(w)", 'self.register_buffer("frequencies", w)'),
        ("math.gcd(32, channels // 4), channels, eps=1e-6", "math.gcd(32, channels // 4), channels, eps=1e-3"),
        ("math.gcd(32, channels // 4), channels, eps=1e-6", "1, channels, eps=1e-6"),
        ("h = self.conv1(silu(self.norm1(x)))", "h = self.conv1(self.norm1(x))"),
        ("h = h + rearrange(self.time(silu(temb)), \"b c -> b c 1 1\")\n        h = self.conv2", "h = self.conv2"),
        ("self.conv2(self.dropout(silu(self.norm2(h))))\n        return self.shortcut(x) + h\n\n\nclass Standard",
         "self.conv2(self.dropout(silu(self.norm2(h))))\n        return h\n\n\nclass Standard"),
        ("self.conv2 = zero_init(nn.Conv2d", "self.conv2 = (nn.Conv2d"),
        ("self.weight.shape[1:], eps=eps", "self.weight.shape[2:], eps=eps"),
        ("self.norm1(self.conv1(x)) * (scale + 1) + shift", "self.norm1(self.conv1(x)) * scale + shift"),
        ('"b (two c) -> two b c 1 1", two=2', '"b (c two) -> two b c 1 1", two=2'),
        ("h = silu(self.norm2(self.conv2(self.dropout(h))))", "h = self.norm2(self.conv2(self.dropout(h)))"),
        ("gelu(self.expand(self.norm(h)))", "gelu(self.expand(h))"),
        ("padding=3, groups=in_channels", "padding=3, groups=1"),
        ('"b (three heads d) h w -> three b heads (h w) d"', '"b (heads three d) h w -> three b heads (h w) d"'),
        ('"b (three heads d) h w -> three b heads (h w) d"', '"b (three heads d) h w -> three b heads d (h w)"'),
        ("attend(q, k, v)", "attend(k, q, v)"),
        ("attend(q, k, v)", "attend(q, k, v, scale=1.0)"),
        ("k.softmax(dim=1), v)", "k.softmax(dim=3), v)"),
        ("k.softmax(dim=1), v)", "k, v)"),
        ("q.softmax(dim=3), context", "q.softmax(dim=1), context"),
        ("1 / (q.shape[1] * math.sqrt(q.shape[3]))", "1 / (q.shape[1] * q.shape[3])"),
        ("1 / (q.shape[1] * math.sqrt(q.shape[3]))", "1 / math.sqrt(q.shape[3])"),
        ("h = self.norm_out(self.out(h.flatten(2)))", "h = self.out(h.flatten(2))"),
        ("pad(x, (0, 1, 0, 1))", "pad(x, (1, 0, 1, 0))"),
        ('"b c (h p) (w q) -> b (c p q) h w"', '"b c (p h) (q w) -> b (c p q) h w"'),
        ('mode="nearest"', 'mode="bilinear"'),
    ],
    "unet": [
        ("self.labels(labels)", "0 * self.labels(labels)"),
        ("torch.cat([torch.zeros_like(xt) if x0_hat is None else x0_hat, xt], dim=1)",
         "torch.cat([torch.zeros_like(xt), xt], dim=1)"),
        ("torch.cat([torch.zeros_like(xt) if x0_hat is None else x0_hat, xt], dim=1)",
         "torch.cat([xt, xt if x0_hat is None else x0_hat], dim=1)"),
        ("skips = [h]\n", "skips = [0 * h]\n"),
        ("h = self.middle_out(self.middle_in(h, temb), temb)", "h = self.middle_in(h, temb)"),
        ("torch.cat([h, skips.pop()], dim=1)", "torch.cat([skips.pop(), h], dim=1)"),
        ("self.conv_out(self.act_out(self.norm_out(h)))", "self.conv_out(self.norm_out(h))"),
        ("out = (out_channels or channels) * (2 if learned_variance else 1)", "out = out_channels or channels"),
        ("self.conv_out = zero_init(", "self.conv_out = ("),
        ("resolution if i == blocks else None))\n            skips", "resolution))\n            skips"),
        ("range(blocks + 1)", "range(blocks)"),
        ("if resolution in linear_attention:\n                return", "if resolution in attention:\n                return"),
        ("Attention(channels, heads, head_width, wiring)", "Attention(channels, 1, head_width, wiring)"),
        ("temb = wiring == \"paper\", 4 * width", "temb = wiring == \"paper\", 2 * width"),
        ('Fourier(width // 2, time == "learned")', 'Fourier(width // 2, time == "random")'),
        ("isinstance(layer, Block) or self.keeps_resampled", "isinstance(layer, Block)"),
    ],
    "interop": [
        ("self.model(xt, t - 1,", "self.model(xt, t,"),
        ("self.model(xt, t - 1,", "self.model(xt, t + 1,"),
        ('"qkv": ["to_q", "to_k", "to_v"]', '"qkv": ["to_k", "to_q", "to_v"]'),
        ('"norm1": ["norm1"]', '"norm1": ["norm2"]'),
        ("level, count = level + 1, 0", "level, count = level, 0"),
    ],
}  # fmt: skip

# Mutants that no test can tell from the original, and why.
EQUIVALENT: dict[tuple[str, str, str], str] = {}

# Where a room's mathematics is also held by the tests of another.
TESTS = {
    "forward": ["forward", "reverse"],
    "diffusion": ["diffusion", "elbo"],
    "blocks": ["blocks", "unet"],
    "unet": ["unet", "interop"],
}


def run(room: str, old: str, new: str) -> tuple[bool, float]:
    """Whether the tests noticed, and the seconds they took."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("ddpm_lite", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "ddpm_lite" / f"{room}.py"
        path.write_text(path.read_text().replace(old, new))
        files = [f"tests/test_{name}.py" for name in TESTS.get(room, [room])]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"},
            capture_output=True,
        )
        return done.returncode == 1, time.perf_counter() - start


def main() -> int:
    rooms = sys.argv[1:] or list(MUTANTS)
    unknown = set(rooms) - MUTANTS.keys()
    if unknown:
        sys.exit(f"rooms are {', '.join(MUTANTS)}; got {', '.join(sorted(unknown))}")
    todo = [(room, old, new) for room in rooms for old, new in MUTANTS[room]]
    for room, old, _ in todo:
        found = (ROOT / "ddpm_lite" / f"{room}.py").read_text().count(old)
        if found != 1:
            sys.exit(f"{room}.py has {found} times, where one was expected: {old}")
    for room in rooms:  # the original must pass, or every mutant would seem caught
        if run(room, "", "")[0]:
            sys.exit(f"the tests of {room} fail without any mutant")
    survivors = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, (caught, seconds) in zip(todo, pool.map(lambda m: run(*m), todo), strict=True):
            room, old, new = mutant
            fate = "caught" if caught else EQUIVALENT.get(mutant, "SURVIVED")
            survivors += fate == "SURVIVED"
            print(f"{room:10} {seconds:5.1f} s  {fate:9} {old!r} -> {new!r}", flush=True)
    print(f"{len(todo)} mutants, {len(todo) - survivors} caught or explained, {survivors} survived")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
