"""Images shared out: the same whoever draws them, and bits that are those of `elbo`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    Oracle,
    ddim,
    ddpm,
    digits,
    elbo,
    linear_schedule,
    load_images,
)
from ddpm_lite.runs import many
from ddpm_lite.runs.many import codelength, draw
from tests.systems import several_processes

from .test_processes import torchrun

SCHEDULE = linear_schedule(20, 5e-3, 0.5)
DIFFUSION = GaussianDiffusion(SCHEDULE, levels=17)


class Known(nn.Module):
    """The oracle of a few digits, with a parameter that says where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle(SCHEDULE, digits()[0][:5])
        self.here = nn.Parameter(torch.zeros(()))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.oracle(xt, t)


class Pointwise(nn.Module):
    """What comes out of an image does not depend on which others are beside it, to the last bit."""

    def __init__(self) -> None:
        super().__init__()
        self.here = nn.Parameter(torch.zeros(()))

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return 0.5 * xt


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_a_sample_is_that_of_its_seed_and_number(sampler: Any) -> None:
    def drawn(n: int, batch: int, seed: int = 3) -> Tensor:
        options = {} if sampler is ddpm else {"steps": 5, "eta": 0.7}
        return draw(
            DIFFUSION, Pointwise(), n, (1, 8, 8), sampler, batch=batch, seed=seed, **options
        )

    x = drawn(10, 4)
    assert x.shape == (10, 1, 8, 8)
    for n, batch in ((10, 4), (10, 3), (10, 1), (10, 256), (7, 5), (1, 1)):
        assert torch.equal(drawn(n, batch), x[:n])
    both = torch.cat([x, drawn(10, 4, seed=4)])
    assert len(both.flatten(1).unique(dim=0)) == 20  # no sample of one seed is one of another's


def test_noise_is_standard_and_new_at_every_step() -> None:
    noise = many._noise(1, range(2, 5), (1, 40, 40), torch.device("cpu"))
    first, second = noise(20), noise(19)
    for z in (first, second):
        assert z.shape == (3, 1, 40, 40)
        assert_close(z.mean((1, 2, 3)), torch.zeros(3), atol=0.1, rtol=0)
        assert_close(z.std((1, 2, 3)), torch.ones(3), atol=0.1, rtol=0)
    both = torch.stack([first, second]).flatten(0, 1).flatten(1)
    assert_close(both @ both.T / 1600, torch.eye(6), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("n", "processes", "told"), [(4, 1, "5/5"), (8, 2, "5/5"), (5, 1, "2/2"), (9, 2, "2/2")]
)
def test_the_bar_is_of_steps_where_there_is_one_batch(
    n: int,
    processes: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A single batch may take minutes: a bar of batches would stand at none and then at all."""
    monkeypatch.setattr(many, "world", lambda: processes)
    monkeypatch.setattr(many, "gather", lambda part: [part])
    for rank in range(processes):
        monkeypatch.setattr(many, "rank", lambda rank=rank: rank)
        draw(DIFFUSION, Pointwise(), n, (1, 8, 8), ddim, batch=4, steps=5, progress=True)
        bars = capsys.readouterr().err
        assert (told in bars) == (rank == 0)
        assert bool(bars) == (rank == 0)


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_make_up_the_whole(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process in turn, its part kept; gathered, they are what one process makes."""
    images = digits()[0][:20]

    def run() -> tuple[Tensor, object]:
        drawn = draw(DIFFUSION, Known(), 11, (1, 8, 8), batch=2)
        return drawn, codelength(DIFFUSION, Known(), images)

    whole = run()
    calls: list[list[object]] = []
    monkeypatch.setattr(many, "world", lambda: processes)
    for rank in range(processes):
        monkeypatch.setattr(many, "rank", lambda rank=rank: rank)
        parts: list[object] = []
        monkeypatch.setattr(many, "gather", lambda part, parts=parts: [parts.append(part) or part])
        run()
        calls.append(parts)
    answers = iter(zip(*calls, strict=True))
    monkeypatch.setattr(many, "gather", lambda part: list(next(answers)))
    drawn, bits = run()
    assert torch.equal(drawn, whole[0])
    assert bits == whole[1]
    assert all(part for parts in calls for part in parts)


@several_processes
def test_two_real_processes_draw_what_one_does(tmp_path: Path) -> None:
    code = """
        import torch
        from ddpm_lite.system.processes import joined, rank
        from ddpm_lite.runs.many import codelength, draw
        from ddpm_lite import digits
        from tests.test_many import DIFFUSION, Known
        with joined("cpu"):
            x = draw(DIFFUSION, Known(), 7, (1, 8, 8), batch=2)
            bits = codelength(DIFFUSION, Known(), digits()[0][:12])
            torch.save((x, bits.total), f"{rank()}.pt")
    """
    done = torchrun(code, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = draw(DIFFUSION, Known(), 7, (1, 8, 8), batch=2)
    bits = codelength(DIFFUSION, Known(), digits()[0][:12]).total
    for rank in (0, 1):
        x, total = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_close(x, expected)
        assert total == pytest.approx(bits)


def test_bits_are_those_of_the_bound() -> None:
    """Many draws of `elbo`, whose mean is known to a standard error, against one codelength."""
    images = digits()[0][:5]
    found = codelength(DIFFUSION, Known(), images.repeat(40, 1, 1, 1), seed=1)
    terms = elbo(DIFFUSION, Known(), images.repeat(200, 1, 1, 1))
    scale = (terms.bits_per_dim / terms.total)[0].item()
    assert found.total == pytest.approx(
        terms.bits_per_dim.mean().item(), abs=5 * found.standard_error
    )
    assert found.prior == pytest.approx(terms.prior.mean().item() * scale, rel=1e-5)
    assert found.total == pytest.approx(found.prior + found.kl + found.decoder)
    assert found.kl == pytest.approx(terms.kl.sum(1).mean().item() * scale, rel=0.1)
    assert found.images == 200
    assert "over 200 images" in str(found)
    spread = terms.bits_per_dim.std().item() / 200**0.5
    assert found.standard_error == pytest.approx(spread, rel=0.3)


def test_clipping_is_passed_on() -> None:
    class Nothing(Known):
        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(xt)  # no noise: the guess at x0 is far outside [-1, 1]

    images, bits = digits()[0][:40], []
    for clip in (True, False):
        torch.manual_seed(0)
        terms = elbo(DIFFUSION, Nothing(), images, clip=clip)
        bits.append(codelength(DIFFUSION, Nothing(), images, clip=clip).total)
        assert bits[-1] == pytest.approx(terms.bits_per_dim.mean().item(), rel=0.05)
    assert bits[1] > 1.5 * bits[0]


def test_bad_numbers() -> None:
    for name, n, batch in (("n", 0, 2), ("batch", 3, 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            draw(DIFFUSION, Known(), n, (1, 8, 8), batch=batch)
    with pytest.raises(ValueError, match="at least two images, for a standard error, got 1"):
        codelength(DIFFUSION, Known(), digits()[0][:1])


@pytest.mark.usefixtures("as_a_reader")
def test_what_is_no_set_of_images() -> None:
    images = digits()[0][:4]
    expected = codelength(DIFFUSION, Known(), images)
    assert codelength(DIFFUSION, Known(), images.numpy()) == expected
    assert codelength(DIFFUSION, Known(), images.tolist()) == expected
    data = torch.utils.data.TensorDataset(images)
    for given in (data, torch.utils.data.DataLoader(data), load_images("digits"), "digits", None):
        kind = type(given).__name__ if given is not None else "None"
        with pytest.raises(TypeError, match=f"x0 must be a tensor, an array .*{kind}"):
            codelength(DIFFUSION, Known(), given)
    with pytest.raises(TypeError, match="n must be an integer, got '4'"):
        draw(DIFFUSION, Known(), "4", (1, 8, 8))
    with pytest.raises(TypeError, match="network must be a Module, got function"):
        draw(DIFFUSION, lambda xt, t: xt, 4, (1, 8, 8))
