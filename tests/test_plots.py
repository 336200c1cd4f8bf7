"""Figures: they draw what they are given, and their dark twin is legible."""

import io
import re
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from ddpm_lite import plots

mpl.use("Agg")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with mpl.rc_context():
        plots.setup()
        yield
    plt.close("all")


def luminance(color: str) -> float:
    """Relative luminance by WCAG 2.1."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_both_grounds() -> None:
    """WCAG: 4.5 for text, 3 for lines."""
    dark = plots.DARK
    assert contrast(plots.INK, plots.PAPER) >= 4.5
    assert contrast(dark[plots.INK], dark[plots.PAPER]) >= 4.5
    for color in plots.COLORS:
        assert contrast(color, plots.PAPER) >= 3
        assert contrast(dark[color], dark[plots.PAPER]) >= 3


def test_lines_differ_without_colour() -> None:
    ax = plots.axes()[0]
    plots.lines(ax, [0, 1], {"a": [0, 1], "b": [1, 0], "c": [1, 1]}, "x", "y", yscale="log")
    assert len({line.get_linestyle() for line in ax.lines}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("x", "y", "log")


def test_clouds_are_drawn_where_they_are() -> None:
    sets = {name: torch.rand(5, 2) for name in ("a", "b", "c", "d")}
    plots.clouds(sets, limit=1.5)
    drawn = plt.gcf().axes
    assert [ax.get_title() for ax in drawn] == ["a", "b", "c", "d", "", ""]
    assert [ax.axison for ax in drawn] == [True] * 4 + [False] * 2
    for ax, points in zip(drawn, sets.values(), strict=False):
        assert np.allclose(ax.collections[0].get_offsets(), points)
        assert ax.get_xlim() == ax.get_ylim() == (-1.5, 1.5)


def test_images_are_drawn_as_they_are() -> None:
    grey = torch.tensor([[-1.0, 1.0], [0.0, 3.0]]).view(1, 1, 2, 2)
    colour = torch.zeros(2, 3, 2, 2)
    plots.images([grey, colour], ["first", "second"], ["grey", "colour"])
    drawn = [ax.images[0].get_array() for ax in plt.gcf().axes if ax.images]
    assert np.allclose(drawn[0].squeeze(), [[0, 1], [0.5, 1]])
    assert drawn[1].shape == (2, 2, 3)
    assert len(drawn) == 3
    assert plt.gcf().axes[0].images[0].get_clim() == (0, 1)
    assert plt.gcf().axes[0].get_title() == "first"


def test_histograms_have_area_one_over_the_bell() -> None:
    ax = plots.axes()[0]
    values = torch.randn(5000)
    plots.histograms(ax, {"z": values}, "x")
    xs, ys = ax.lines[0].get_data()
    assert np.trapezoid(ys, xs) == pytest.approx(1, abs=0.01)
    outline = ax.patches[0].get_xy()
    assert outline[:, 1].max() == pytest.approx(0.4, abs=0.06)


def test_the_dark_twin_changes_colours_and_nothing_else() -> None:
    plots.lines(plots.axes()[0], [0, 1], {"a": [0, 1], "b": [1, 0]}, "x", "y")
    buffer = io.StringIO()
    plt.gcf().savefig(buffer, format="svg", metadata={"Date": None})
    light = buffer.getvalue()
    dark = plots.for_dark(light)
    assert plots.INK in light
    for color in plots.DARK:
        assert color not in dark
    blank = re.compile(r"#[0-9a-f]{6}")
    assert blank.sub("#", light) == blank.sub("#", dark)


def test_a_figure_drawn_twice_is_the_same_file() -> None:
    def draw() -> str:
        plots.lines(plots.axes()[0], [0, 1], {"a": [0, 1]}, "x", "y")
        buffer = io.StringIO()
        plt.gcf().savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    assert draw() == draw()


def test_unet_draws_every_layer_and_every_skip() -> None:
    layers = [("conv", 4, 8), ("down", 4, 4), ("block", 6, 4), ("block", 6, 4), ("up", 6, 8)]
    layers.append(("block", 4, 8))
    ax = plots.axes()[0]
    plots.unet(ax, layers, {3: 1, 5: 0})
    bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_y() for bar in ax.patches}
    assert sorted(bars) == list(range(6))
    assert bars[0] == bars[4] == bars[5] > bars[1] == bars[2] == bars[3]
    ends = [(line.get_xdata()[0], line.get_xdata()[-1]) for line in ax.lines]
    assert sorted(map(tuple, ends)) == [(0, 5), (1, 3)]
    assert [text.get_text() for text in ax.texts] == ["8x8\n4", "4x4\n6"]
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["conv", "down", "block", "up"]


def test_a_table_is_text_and_html() -> None:
    shown = plots.table(
        {"schedule": ["linear", "<cosine>"], "T": torch.tensor([1000, 50]),
         "bits": [(3.14159, 0.02), None], "share": np.array([0.5, 1234.5])}, digits=1,
    )  # fmt: skip
    assert repr(shown).splitlines() == [
        "schedule      T       bits    share",
        "linear    1,000  3.1 ± 0.0      0.5",
        "<cosine>     50             1,234.5",
    ]
    html = shown._repr_html_()
    assert '<td style="text-align: left">&lt;cosine&gt;</td>' in html
    assert html.count("<tr>") == 3
    assert html.count("text-align: right") == 9
    with pytest.raises(ValueError, match=r"of one length, .* got \{'a': 1, 'b': 2\}"):
        plots.table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="at least one of them"):
        plots.table({})


def test_opinions_multiply() -> None:
    """N(0, 1) and N(2, 1) agree on N(1, 1/2)."""
    ax = plots.axes()[0]
    x = np.linspace(-4, 6, 2001)
    bell = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    plots.opinions(ax, x, bell, np.exp(-((x - 2) ** 2) / 2))
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert np.allclose(drawn["posterior"], np.exp(-((x - 1) ** 2)) / np.sqrt(np.pi), atol=1e-6)
    assert np.allclose(drawn["prior"], bell)
    top = max(path.vertices[:, 1].max() for path in ax.collections[0].get_paths())
    assert top == pytest.approx(np.exp(-1) / np.sqrt(2 * np.pi), abs=1e-4)
    assert len({line.get_linestyle() for line in ax.lines}) == 3


def test_a_bend_has_its_average_above() -> None:
    ax = plots.axes()[0]
    r = np.array([0.5, 1.0, 1.5])
    plots.bends(ax, r)
    at = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines}
    assert at["average of -log r"] == pytest.approx((1.0, -np.log(r).mean()))
    assert at["-log of the average r"] == pytest.approx((1.0, 0.0))


def test_contours_stand_where_the_density_is() -> None:
    """The first axis of a density is that of x."""
    ax = plots.axes()[0]
    x, y = np.linspace(-3, 3, 61), np.linspace(-6, 6, 121)
    bell = np.exp(-((x[:, None] - 1) ** 2) - (y[None, :] + 2) ** 2)
    plots.contours(ax, x, y, {"a": bell, "b": bell.copy()}, [0.5], xlabel="x")
    ring = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert ring.mean(0) == pytest.approx((1, -2), abs=0.1)
    assert ax.get_xlabel() == "x"
    assert len({line.get_linestyle() for line in ax.lines}) == 2


def test_outlines_have_area_one_and_dashes() -> None:
    ax = plots.axes()[0]
    edges = np.linspace(-1, 1, 5)
    plots.outlines(ax, {"low": [-0.9, -0.8], "high": torch.tensor([0.9])}, edges, "pixel")
    low, high = (patch.get_data() for patch in ax.patches)
    assert np.allclose(low.values, [2, 0, 0, 0])
    assert np.allclose(high.values, [0, 0, 0, 2])
    assert len({patch.get_linestyle() for patch in ax.patches}) == 2


def test_marks_are_points_beside_thin_lines() -> None:
    ax = plots.axes()[0]
    plots.marks(
        ax, [1, 2], {"a": [3, 4], "b": [5, 6]}, {"known": ([0, 3], [1, 1])}, xscale="log"
    )  # fmt: skip
    first, second, known = ax.lines
    assert first.get_marker() != second.get_marker()
    assert list(second.get_ydata()) == [5, 6]
    assert list(known.get_xdata()) == [0, 3]
    assert ax.get_xscale() == "log"


def test_shares_are_cut_where_they_are_told() -> None:
    ax = plots.axes()[0]
    x = np.linspace(-1, 1, 201)
    plots.shares(ax, x, 1 - x**2, [0.0, 0.5], ["left", "middle", "right"])
    spans = [
        (part.get_paths()[0].vertices[:, 0].min(), part.get_paths()[0].vertices[:, 0].max())
        for part in ax.collections[:3]
    ]
    assert np.allclose(spans, [(-1, 0), (0, 0.5), (0.5, 1)], atol=0.011)
    assert [text.get_text() for text in ax.texts] == ["left", "middle", "right"]
