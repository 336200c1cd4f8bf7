"""Widgets from Python's side. What the browser computes is compared in tests/book."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import traitlets
from torch.testing import assert_close

from ddpm_lite import (
    GaussianDiffusion,
    cosine_schedule,
    digits,
    linear_schedule,
    photograph,
    widgets,
)
from ddpm_lite.widgets import ForwardProcess, Widget, normals


def test_noise_is_standard_normal() -> None:
    from scipy.stats import kstest

    z = normals(3, 100_001)
    assert z.shape == (100_001,)
    assert kstest(z, "norm").pvalue > 0.01
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(z, normals(4, 100_001))[0, 1]) < 0.01


def test_noise_is_a_prefix_of_longer_noise() -> None:
    assert np.array_equal(normals(9, 7), normals(9, 100)[:7])
    assert normals(9, 0).shape == (0,)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_noise() -> None:
    with pytest.raises(ValueError, match="seed must lie in"):
        normals(-1, 3)
    with pytest.raises(ValueError, match="n must not be negative, got -3"):
        normals(1, -3)


@pytest.mark.parametrize("picture", ["digit", "flower"])
def test_xt_is_q_sample_of_the_package(picture: str) -> None:
    widget = ForwardProcess(picture=picture, t=40, T=100, kind="cosine", seed=7)
    x0 = widget.x0
    assert_close(x0.float(), digits()[0][:1] if picture == "digit" else photograph(96))
    recovered = GaussianDiffusion(cosine_schedule(100))
    eps = (widget.xt - recovered.q_mean_variance(x0, 40)[0]) / recovered.q_mean_variance(x0, 40)[
        1
    ].sqrt()
    assert_close(eps.permute(0, 2, 3, 1).flatten(), torch.from_numpy(normals(7, x0.numel())))


def test_it_begins_and_ends_where_it_should() -> None:
    widget = ForwardProcess(t=0)
    assert_close(widget.xt, widget.x0)
    widget.t, widget.T = 900, 50  # a t beyond the end counts as the end
    assert_close(widget.xt, ForwardProcess(t=50, T=50).xt)
    assert torch.equal(widget.schedule.beta, linear_schedule(50).beta)


def test_traits_can_be_observed() -> None:
    widget, seen = ForwardProcess(), []
    widget.observe(lambda change: seen.append((change["name"], change["new"])), ["t", "kind"])
    widget.t = 3
    widget.kind = "cosine"
    assert seen == [("t", 3), ("kind", "cosine")]


def test_own_pictures() -> None:
    image = torch.rand(1, 3, 5, 4)
    widget = ForwardProcess({"mine": image})
    assert widget.picture == "mine"
    assert_close(widget.x0.float(), image, atol=1 / 255, rtol=0)


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize(
    "setting",
    [{"t": -1}, {"T": 0}, {"T": 2000}, {"beta_end": 1.0}, {"kind": "other"}, {"seed": -1}],
)
def test_bad_settings(setting: dict[str, object]) -> None:
    with pytest.raises(traitlets.TraitError):
        ForwardProcess(**setting)


@pytest.mark.usefixtures("as_a_reader")
def test_bad_pictures() -> None:
    with pytest.raises(traitlets.TraitError, match="picture must be one of digit, flower, got 'x'"):
        ForwardProcess(picture="x")
    with pytest.raises(ValueError, match="pictures must name at least one image"):
        ForwardProcess({})
    with pytest.raises(ValueError, match=r"'a' must have shape .* got \(2, 1, 4, 4\)"):
        ForwardProcess({"a": torch.zeros(2, 1, 4, 4)})


def every_widget() -> list[type[Widget]]:
    return [w for w in vars(widgets).values() if isinstance(w, type) and issubclass(w, Widget)][1:]


@pytest.mark.parametrize("kind", every_widget())
def test_a_still_goes_along_and_leaves_no_trace(kind: type[Widget]) -> None:
    before = dict(plt.rcParams)
    bundle = kind()._repr_mimebundle_()
    assert bundle is not None
    assert "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == kind()._repr_mimebundle_()[0]["image/svg+xml"]
    assert len(bundle[0]["image/svg+xml"]) < 300_000
    assert not plt.get_fignums()
    assert dict(plt.rcParams) == before


def test_a_widget_without_a_still_says_what_is_missing() -> None:
    class Bare(Widget):
        _esm = "export default { render() {} }"

    with pytest.raises(NotImplementedError, match=r"Bare needs a method still\(\)"):
        Bare()._repr_mimebundle_()


@pytest.mark.parametrize("kind", every_widget())
def test_the_module_stands_alone(kind: type[Widget]) -> None:
    esm = kind()._esm
    assert "import " not in esm.replace("import(", "")
    assert len(esm) < 50_000


def test_a_still_shows_the_present_settings() -> None:
    one, two = (ForwardProcess(t=t).still() for t in (10, 900))
    pixels = [figure.axes[0].images[0].get_array() for figure in (one, two)]
    expected = ((ForwardProcess(t=900).xt[0].clamp(-1, 1) + 1) / 2)[0]
    assert_close(torch.as_tensor(np.asarray(pixels[1])).squeeze(), expected.float())
    assert not np.allclose(*pixels)


def test_the_state_is_small() -> None:
    assert len(ForwardProcess()._pixels) == 64 + 96 * 96 * 3
