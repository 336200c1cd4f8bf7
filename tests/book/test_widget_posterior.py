"""The posterior's widget on the built page."""

import itertools

import pytest
import torch
from playwright.sync_api import Page

from ddpm_lite import GaussianDiffusion, gaussian_kl, linear_schedule
from ddpm_lite.widgets import Posterior

from .conftest import LESS, Open, fits_a_phone
from .widgets import MODULE, know_mathematics, widget

PAGE = "book/06-posterior-matching.html"
COORDINATES = ["eps", "x0", "v", "mu"]
MINUS = "\u2212"
CHAINS = {20: (0.02, 0.5), 1000: (1e-4, 0.02)}


def cells(view: Page) -> list[list[str]]:
    return [
        row.locator("td").all_inner_texts() for row in view.locator(".ddpm-table tbody tr").all()
    ]


def drawn(view: Page, curve: str) -> str:
    return view.locator(f".ddpm-widget polyline.{curve}").get_attribute("points") or ""


@pytest.mark.parametrize("name", ["Step t", "Image x0", "Seen xt", "Guess ε"])
@pytest.mark.parametrize("key", ["ArrowLeft", "Home"])
def test_every_slider_changes_the_picture(view: Page, name: str, key: str) -> None:
    slider = view.get_by_role("slider", name=name, exact=True)
    before, table, shown = slider.input_value(), cells(view), widget(view).screenshot()
    slider.focus()
    view.keyboard.press(key)
    assert slider.input_value() != before
    assert cells(view) != table
    assert widget(view).screenshot() != shown


@pytest.mark.parametrize("coordinate", ["x0", "v", "mu"])
def test_the_guess_keeps_its_place_when_the_coordinate_changes(view: Page, coordinate: str) -> None:
    curve, table = drawn(view, "bell-network"), cells(view)
    view.get_by_label("The network predicts").select_option(coordinate)
    assert drawn(view, "bell-network") == curve
    assert cells(view) == table
    index = COORDINATES.index(coordinate)
    slider = view.locator("input[name=guess]")
    said = slider.evaluate("e => e.getAttribute('aria-valuetext')")
    assert said == table[index][1]
    view.locator("tr.chosen th").wait_for()
    assert "chosen" in (
        view.locator(".ddpm-table tbody tr").nth(index).get_attribute("class") or ""
    )
    slider.focus()
    view.keyboard.press("ArrowRight")  # and it is this coordinate that the slider moves
    assert float(cells(view)[index][1].replace(MINUS, "-")) > float(
        table[index][1].replace(MINUS, "-")
    )


@pytest.mark.parametrize("t", [2, 11, 20])
def test_the_last_column_is_one_number(view: Page, t: int) -> None:
    view.get_by_role("slider", name="Step t", exact=True).fill(str(t))
    rows = cells(view)
    assert len(rows) == 4
    assert len({row[-1] for row in rows}) == 1
    assert len({row[3] for row in rows}) >= 3  # the weights differ; late, those of x0 and v hardly
    python = Posterior(t=t)
    for row, (truth, said, weight) in zip(rows, python.coordinates().values(), strict=True):
        expected = [truth, said, said - truth, weight, weight * (said - truth) ** 2]
        got = [number(text) for text in row]
        assert got == pytest.approx([v.item() for v in expected], rel=0.06)


def number(text: str) -> float:
    """What `pretty` wrote, read back."""
    plain = text.replace(MINUS, "-").replace(" \u00d7 10", "e").replace("⁻", "-")
    for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹"):
        plain = plain.replace(raised, str(digit))
    return float(plain)


@pytest.mark.parametrize("T", CHAINS)
def test_the_mathematics_agrees_with_python(server: str, visit: Open, T: int) -> None:
    view = visit(f"{server}/{PAGE}", without=LESS)
    view.wait_for_selector(".widget-host[data-ready]")
    view.evaluate(MODULE)
    know_mathematics(view)
    schedule = linear_schedule(T, *CHAINS[T])
    process = GaussianDiffusion(schedule)
    one = torch.ones(1, 1, dtype=torch.float64)
    for t, x0, xt in ((2, 0.8, 0.7), (T // 2, -0.3, 1.4), (T, 1.0, -2.0)):
        got = view.evaluate(
            """([T, a, b, t, x0, xt]) => { const m = widget.module;
            const s = mathematics.schedule("linear", T, a, b), all = m.beliefs(s, t, x0, xt);
            const names = ["eps", "x0", "v", "mu"];
            return {
              means: ["prior", "likelihood", "posterior"].map((n) => all[n].mean),
              variances: ["prior", "likelihood", "posterior"].map((n) => all[n].variance),
              converted: names.flatMap((g) => names.map((w) => m.convert(s, t, xt, 0.4, g, w))),
              weights: ["beta", "beta_tilde"].flatMap(
                (v) => names.map((n) => m.weight(s, t, n, v))),
              kl: m.gaussianKL(all.posterior, { mean: 0.1, variance: m.sigma2(s, t, "beta") }),
            }; }""",
            [T, *CHAINS[T], t, x0, xt],
        )
        mean, variance = process.q_posterior(x0 * one, xt * one, t)
        prior, prior_variance = process.q_mean_variance(x0 * one, t - 1)
        alpha, beta = schedule.alpha[t], schedule.beta[t]
        close(got["means"], [prior, xt / alpha.sqrt(), mean])
        close(got["variances"], [prior_variance, beta / alpha, variance])
        close(
            got["converted"],
            [
                process.convert(0.4 * one, xt * one, t, given, wanted)
                for given, wanted in itertools.product(COORDINATES, COORDINATES)
            ],
            rel=1e-6,
        )
        close(
            got["weights"],
            [
                GaussianDiffusion(schedule, name, v).loss_weight("variational")[t]
                for v, name in itertools.product(["beta", "beta_tilde"], COORDINATES)
            ],
        )
        close([got["kl"]], [gaussian_kl(mean, variance, 0.1 * one, beta)])


def close(got: list[float], expected: list[torch.Tensor], rel: float = 1e-9) -> None:
    assert got == pytest.approx([float(v) for v in expected], rel=rel, abs=1e-9)


def test_the_curves_are_where_they_should_be(view: Page) -> None:
    """The posterior's top lies over its mean, by the ticks of the axis."""
    t = 11
    view.get_by_role("slider", name="Step t", exact=True).fill(str(t))
    ticks = view.locator(".ddpm-widget svg").first.locator("text.middle")
    at = {text.text_content(): float(text.get_attribute("x") or "nan") for text in ticks.all()[:7]}
    pixels = (at["3"] - at[f"{MINUS}3"]) / 6
    process = Posterior(t=t).diffusion
    x0, xt = (torch.full((1, 1), v).double() for v in (0.8, -0.5))
    expected = {
        "posterior": process.q_posterior(x0, xt, t)[0].item(),
        "prior": process.q_mean_variance(x0, t - 1)[0].item(),
        "network": Posterior(t=t).coordinates()["mu"][1].item(),
    }
    for name, mean in expected.items():
        points = [p.split(",") for p in drawn(view, f"bell-{name}").split()]
        top = min(points, key=lambda p: float(p[1]))
        assert float(top[0]) == pytest.approx(at["0"] + pixels * mean, abs=2)


def test_the_paper_s_chain_has_a_thousand_steps(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    view.get_by_label("Chain").select_option("1000")
    assert slider.get_attribute("max") == "1000"
    slider.fill("700")
    assert "At step 700 of 1000" in widget(view).inner_text()
    view.get_by_label("Chain").select_option("20")
    assert slider.input_value() == "20"  # a t beyond the chain counts as its end
    assert "At step 20 of 20" in widget(view).inner_text()


def test_beta_tilde_leaves_nothing_for_the_variance(view: Page) -> None:
    schedule = Posterior(t=6).diffusion.schedule
    variances = schedule.beta_tilde[6].view(1), schedule.beta[6].view(1)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    constant = gaussian_kl(zero, variances[0], zero, variances[1]).item()
    assert f", {constant:.3g} for the variance" in widget(view).inner_text()
    view.get_by_label("Its variance").select_option("beta_tilde")
    assert ", 0 for the variance" in widget(view).inner_text()


def test_words_are_spoken_and_the_charts_have_names(view: Page) -> None:
    slider = view.get_by_role("slider", name="Step t", exact=True)
    slider.focus()
    view.keyboard.press("ArrowRight")
    assert "At step 7 of 20" in (view.locator(".ddpm-spoken").text_content() or "")
    names = [
        svg.get_attribute("aria-label") or ""
        for svg in view.locator(".ddpm-widget svg[role=img]").all()
    ]
    assert len(names) == 2
    assert "likelihood" in names[0]
    assert "for ε now" in names[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_themes(server: str, visit: Open, scheme: str) -> None:
    page = visit(f"{server}/{PAGE}", width=390, scheme=scheme)
    page.wait_for_selector(".widget-host[data-ready]")
    fits_a_phone(page)
    frame = page.locator(".ddpm-table-frame")
    assert frame.evaluate("e => e.scrollWidth <= e.clientWidth")
    color = page.locator(".ddpm-table td").first.evaluate("e => getComputedStyle(e).color")
    assert color == {"light": "rgb(36, 41, 47)", "dark": "rgb(209, 213, 218)"}[scheme]
