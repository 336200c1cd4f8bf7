"""Figures: they draw what they are given, and their dark twin is legible."""

import io
import re
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver
from matplotlib.text import Annotation

from ddpm_lite import plots
from ddpm_lite.plots.chain import PARTS

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


def test_seeds_stand_on_the_line_of_their_means() -> None:
    ax = plots.axes()[0]
    runs = {"a": [torch.tensor([1.0, 3.0]), [5.0, 5.0]], "b": [[2.0], [4.0]]}
    plots.seeds(ax, (5, 100), runs, "calls", "far", xscale="log")
    assert np.allclose(ax.lines[0].get_xydata(), [[5, 2], [100, 5]])
    assert np.allclose(ax.lines[1].get_xydata(), [[5, 1], [5, 3]])
    assert len({ax.lines[i].get_marker() for i in (1, 4)}) == 2
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["5", "100"]
    plots.floor(ax, 1.0, 0.5)
    assert ax.patches[0].get_y() == 0.5
    assert ax.patches[0].get_height() == 1.0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "real digits"]


def test_seeds_that_were_not_measured_leave_their_place_empty() -> None:
    ax = plots.axes()[0]
    none = torch.empty(0)
    runs = {"all": [[1.0], [2.0]], "late": [none, torch.tensor([3.0])], "no": [[], none]}
    plots.seeds(ax, (5, 10), runs, "calls", "far")
    named = {line.get_label(): list(line.get_xdata()) for line in ax.lines}  # type: ignore[arg-type]
    assert (named["all"], named["late"]) == ([5, 10], [10])
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["all", "late"]
    assert [at.get_text() for at in ax.get_xticklabels()] == ["5", "10"]


def test_dots_have_a_row_for_each_name_from_above() -> None:
    plots.dots({"first": [1.0, 2.0], "second": torch.tensor([3.0])}, "more")
    ax = plt.gcf().axes[0]
    assert np.allclose(ax.lines[0].get_xydata(), [[1, 0], [2, 0]])
    assert np.allclose(ax.lines[1].get_xydata(), [[3, -1]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["first", "second"]


def test_hollow_and_filled_tell_two_sets_apart_without_colour() -> None:
    pairs = {"a": (([2, 3], [1, 1]), ([4], [2])), "b": (([2], [1]), ([4], [2]))}
    plots.hollow_and_filled(pairs, ("L", "mse"), "bits", "far", (2, 4))
    ax = plt.gcf().axes[0]
    faces = [line.get_markerfacecolor() for line in ax.lines]
    assert faces == ["none", plots.COLORS[0], "none", plots.COLORS[1]]
    assert len({line.get_marker() for line in ax.lines}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()][:2] == ["a, L", "a, mse"]


def test_rate_and_distortion_share_nothing_but_the_figure() -> None:
    plots.rate_distortion(
        [1, 2], {"test": [0.5, 3]}, {"ours": ([0, 3], [20, 1]), "theirs": ([0], [25])}
    )
    upper, lower = plt.gcf().axes
    assert np.allclose(upper.lines[0].get_xydata(), [[1, 0.5], [2, 3]])
    assert np.allclose(lower.lines[0].get_xydata(), [[0, 20], [3, 1]])
    assert [line.get_marker() for line in lower.lines] == ["", "s"]


def test_distances_by_count_have_bars() -> None:
    found = {"samples": [100, 200], "mean": [20.0, 10.0], "std": [2.0, 1.0]}
    plots.by_count([100, 200, 400], [18, 9, 5], {"model": found})
    ax = plt.gcf().axes[0]
    assert np.allclose(ax.lines[0].get_ydata(), [18, 9, 5])
    bars = ax.containers[0].lines[2][0].get_segments()
    assert np.allclose(bars[0], [[100, 18], [100, 22]])


def test_heat_is_grey_from_black_to_white() -> None:
    ax = plots.axes()[0]
    plots.heat(ax, torch.tensor([[-1.0, 1.0], [0.0, 0.5]]), "t", "entry", (1.0, 9.0, 2.0, 0.0))
    drawn = ax.images[0]
    assert np.allclose(drawn.get_array(), [[-1, 1], [0, 0.5]])
    assert drawn.get_clim() == (-1, 1)
    assert (ax.get_xlim(), ax.get_ylim()) == ((1, 9), (2, 0))


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


@pytest.mark.parametrize("part", [None, *PARTS])
def test_the_chain_lights_the_part_at_hand(part: str | None) -> None:
    plots.chain(part)
    (ax,) = plt.gcf().axes
    colors = [to_hex(text.arrow_patch.get_edgecolor()) for text in arrows(ax)]
    assert (plots.PALE in colors) == (part is not None)
    names = {text.get_text(): to_hex(text.get_color()) for text in ax.texts}
    assert {"$x_T$", "$x_t$", "$x_{t-1}$", "$x_1$", "$x_0$"} < names.keys()
    q, p = plots.COLORS[:2]
    assert {color for name, color in names.items() if "|" in name} <= {q, p}
    if part is None or part.startswith("q") or part == "posterior":
        assert q in colors
    if part in (None, "p step", "p chain", "kl", "decoder"):
        assert p in colors
    rims = [to_hex(patch.get_edgecolor()) for patch in ax.patches]
    assert rims.count(plots.INK) == {None: 5, "q chain": 5, "p chain": 5, "posterior": 3,
                                     "kl": 3}.get(part, 2)  # fmt: skip
    low, high = ax.get_ylim()
    for text in ax.texts:
        assert low <= text.get_position()[1] <= high
    box = ax.get_window_extent()
    for arrow in arrows(ax):
        assert box.contains(*arrow.arrow_patch.get_window_extent().p0)
        assert box.contains(*arrow.arrow_patch.get_window_extent().p1)


def arrows(ax: Axes) -> list[Annotation]:
    plt.gcf().canvas.draw()
    return [text for text in ax.texts if isinstance(text, Annotation)]


def test_arrows_of_q_are_dashed_and_lead_to_noise() -> None:
    plots.chain()
    for arrow in arrows(plt.gcf().axes[0]):
        from_x, to_x = arrow.xyann[0], arrow.xy[0]
        of_q = to_hex(arrow.arrow_patch.get_edgecolor()) == plots.COLORS[0]
        assert of_q == (to_x < from_x) == (arrow.arrow_patch.get_linestyle() != "-")


def test_a_part_that_the_chain_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"part must be None or one of q step, .*, got 'q'"):
        plots.chain("q")


def test_jensen_has_the_gap_where_it_is() -> None:
    plots.jensen(0.3, 3.0)
    (ax,) = plt.gcf().axes
    texts = {text.get_text(): text for text in arrows(ax)}
    curve, chord = (texts[name].xy for name in ("log E[w]", "E[log w]"))
    assert curve == pytest.approx((1.65, np.log(1.65)))
    assert chord == pytest.approx((1.65, (np.log(0.3) + np.log(3.0)) / 2))
    assert chord[1] < texts["gap"].xy[1] < curve[1]
    for low, high in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match=rf"0 < low < high, got {low} and {high}"):
            plots.jensen(low, high)


def test_a_density_map_is_right_way_up() -> None:
    ax = plots.axes()[0]
    density = torch.tensor([[0.0, 0.0, 4.0], [0.5, 1.0, 0.0]])  # high at first, then low
    plots.density_map(ax, [-1.0, 0.0, 1.0], density, last=10, limit=2.0)
    (drawn,) = ax.images
    assert drawn.get_extent() == [0, 10, -1, 1]
    pixels = drawn.get_array()
    assert drawn.origin == "upper"
    assert np.allclose(pixels[..., 3], np.sqrt([[1, 0], [0, 0.5], [0, 0.25]]))


def test_arrows_point_and_walks_end_where_they_do() -> None:
    side = torch.linspace(-1, 1, 3)
    places = torch.cartesian_prod(side, side)
    walk = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 0.25]])
    plots.arrows(places, -4 * places, {"one": [walk], "none": []})
    one, none = plt.gcf().axes
    assert [one.get_title(), none.get_title()] == ["one", "none"]
    (quiver,) = (c for c in one.collections if isinstance(c, Quiver))
    length = np.hypot(quiver.U, quiver.V)
    assert length == pytest.approx((4 * places.norm(dim=1)).sqrt().numpy())
    assert (quiver.U * places[:, 0].numpy() <= 0).all()
    begin, end = one.lines[1].get_xydata(), one.lines[2].get_xydata()
    assert np.allclose(begin, walk[:1])
    assert np.allclose(end, walk[-1:])
    assert not none.lines


def test_walks_differ_without_colour() -> None:
    ax = plots.axes()[0]
    plots.walks(ax, range(3), torch.zeros(2, 3), torch.ones(1, 3))
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--"]
    assert np.allclose(ax.lines[2].get_ydata(), 1)


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


def test_strays_are_crosses() -> None:
    x = torch.tensor([[0.0, 0.5], [1.0, -1.0], [0.2, 0.1]])
    plots.strays({"a": (x, torch.tensor([False, True, False]))})
    near, far = plt.gcf().axes[0].collections
    assert np.allclose(near.get_offsets(), x[[0, 2]])
    assert np.allclose(far.get_offsets(), x[[1]])
    assert len(far.get_paths()[0].vertices) < len(near.get_paths()[0].vertices)  # a cross, a disc


def test_live_draws_over_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    live = plots.Live("step", "loss")
    assert live.figure.number not in plt.get_fignums()  # not shown a second time
    picture = torch.zeros(4, 4, 1, dtype=torch.uint8)
    live.update([1, 2], [3.0, 2.0], picture, "old")
    live.update([1, 2, 3], [3.0, 2.0, 1.0], picture + 7, "new")
    (curve,) = live.left.lines
    assert list(curve.get_ydata()) == [3, 2, 1]
    (shown,) = live.right.images
    assert shown.get_array().max() == 7
    assert live.right.get_title() == "new"
    assert live.left.get_xlabel() == "step"


def test_a_ladder_has_a_box_for_each_question_and_each_way_out() -> None:
    plots.ladder([("one?", "first"), ("two?", "second")], "the end")
    (ax,) = plt.gcf().axes
    places = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert {"one?", "first", "two?", "second", "the end", "yes", "no"} == places.keys()
    assert places["one?"][1] > places["two?"][1] > places["the end"][1]
    assert places["first"][0] > places["one?"][0]
    assert places["first"][1] == places["one?"][1]
