"""The training on the built pages: its engine, number by number, and its controls."""

import re
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from torch.nn.utils import vector_to_parameters

from ddpm_lite import GaussianDiffusion, linear_schedule
from ddpm_lite.widgets.points import NETWORK, PEN, PointNet, draw_batch, point_sets

from .conftest import LESS, Open, fits_a_phone, served
from .test_access import OPTIONS, settled, told
from .test_policy import POLICY

PAGE = "book/08-simplified-loss.html"
READY = "document.querySelectorAll('.widget-host[data-ready]').length === 2"
# The engine, without its worker: questions as a worker is asked, and the answers.
ASK = """async (questions) => {
  const entry = [...ddpmWidgets.values()].find((e) => e.model.get("_engine"));
  const text = `export default ${entry.model.get("_engine")}`;
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const { default: make } = await import(url);
  const answer = make().answerer();
  const plain = (_, value) => ArrayBuffer.isView(value) ? [...value] : value;
  return questions.map((asked) => JSON.parse(JSON.stringify(answer(asked), plain)));
}"""


@pytest.fixture
def view(server: str, visit: Open) -> Page:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_function(READY)
    return page


def turn_is(page: Page, least: int) -> None:
    page.wait_for_function(
        """(least) => +(/Turn ([0-9]+)/.exec(document.querySelector(".ddpm-turn").textContent)[1])
        >= least""",
        arg=least,
    )


def path(page: Page, what: str) -> str:
    return page.locator(f".ddpm-training {what}").first.get_attribute("d") or ""


def press(page: Page, name: str) -> None:
    page.locator(".ddpm-training").get_by_role("button", name=name, exact=True).click()


def pause(page: Page) -> None:
    """Until the last look at where the training has come to is done."""
    page.evaluate(
        """() => { const root = document.querySelector(".ddpm-training");
        window.rested = new Promise((resolve) =>
          root.addEventListener("change", () => resolve(true), { once: true })); }"""
    )
    press(page, "Pause")
    page.evaluate("window.rested")
    words = page.locator(".ddpm-training .ddpm-words").inner_text()
    assert "energy distance" in words
    assert words.split(",")[0] == page.locator(".ddpm-turn").inner_text().split(",")[0]


def test_its_losses_are_pytorchs(view: Page) -> None:
    """Five turns in the browser, and the same five by PyTorch."""
    points = torch.from_numpy(point_sets()["ring"])
    how = {"objective": "eps", "lr": 0.01, "batch": 64, "warmup": 20, "average": 0.99, "seed": 7}
    settings = how | {"points": points.flatten().tolist(), "pen": PEN, "kind": "linear", "T": 100}
    turns = [{"do": "train", "ms": 0}] * 5
    _, *told = view.evaluate(ASK, [{"do": "begin", "settings": settings}, *turns])
    d = GaussianDiffusion(linear_schedule().rescaled(100), levels=None)
    model = PointNet(*NETWORK).begin(7)
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for turn, one in enumerate(told):
        batch = draw_batch(points, PEN, 100, 64, 7, turn)
        adam.param_groups[0]["lr"] = 0.01 * (turn + 1) / 21
        adam.zero_grad()
        loss = d.p_losses(model, batch.x0, batch.t, batch.eps).mean()
        loss.backward()
        adam.step()
        assert one["losses"] == pytest.approx([loss.item()], rel=1e-5)


def test_it_is_quiet_then_trains_pauses_and_begins_again(base: str, visit: Open) -> None:
    """As a file too."""
    page = visit(f"{base}/{PAGE}", without=LESS)
    page.wait_for_function(READY)
    assert page.locator(".ddpm-turn").inner_text() == "Turn 0"
    assert path(page, ".drawn") == path(page, ".field") == ""
    press(page, "Train")
    turn_is(page, 30)
    page.wait_for_function("document.querySelector('.ddpm-training .drawn').getAttribute('d')")
    pause(page)
    turn = page.locator(".ddpm-turn").inner_text()
    page.wait_for_timeout(400)
    assert page.locator(".ddpm-turn").inner_text() == turn
    assert path(page, ".field")
    assert page.locator(".ddpm-training svg polyline.loss").get_attribute("points")
    press(page, "Go on")
    turn_is(page, 1 + int(turn.split()[1].rstrip(",")))
    press(page, "Start again")
    page.wait_for_function("document.querySelector('.ddpm-training .ddpm-turn')")
    press(page, "Pause")


def test_t_moves_fields_and_walks(view: Page) -> None:
    press(view, "Train")
    turn_is(view, 5)
    view.wait_for_function("document.querySelector('.ddpm-training .drawn').getAttribute('d')")
    pause(view)
    before = [path(view, what) for what in (".drawn", ".field", ".cloud")]
    view.get_by_role("slider", name="Look at t", exact=True).fill("60")
    view.wait_for_function(
        "(old) => document.querySelector('.ddpm-training .field').getAttribute('d') !== old",
        arg=before[1],
    )
    for old, what in zip(before, (".drawn", ".field", ".cloud"), strict=True):
        assert path(view, what) != old
    assert "at t = 60" in view.locator(".ddpm-told").first.inner_text()


def test_points_are_drawn_by_mouse_and_by_keys(view: Page) -> None:
    pad = view.locator(".ddpm-points")
    press(view, "Wipe")
    assert "0 points" in (pad.get_attribute("aria-label") or "")
    press(view, "Train")
    view.get_by_text("There is nothing to learn").wait_for()
    box = pad.bounding_box()
    assert box is not None
    view.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    view.mouse.down()
    view.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"], steps=8)
    view.mouse.up()
    label = pad.get_attribute("aria-label") or ""
    drawn = int(label.split(" points")[0].split()[-1])
    assert 12 <= drawn <= 18  # 0.9 long, a point each 0.06
    assert view.get_by_label("Points", exact=True).input_value() == "own"
    pad.focus()
    for key in ("ArrowUp", "ArrowUp", "Space"):
        view.keyboard.press(key)
    assert f"{drawn + 1} points" in (pad.get_attribute("aria-label") or "")
    view.keyboard.press("Backspace")
    assert f"{drawn} points" in (pad.get_attribute("aria-label") or "")


def test_the_lines_of_a_turn_light_up(view: Page) -> None:
    press(view, "One turn, slowly")
    seen = []
    for words in ("Line 2 picked", "Line 3 gave", "Line 4 drew", "Line 5 moved"):
        view.get_by_text(words).wait_for()
        lit = view.locator(".ddpm-lines [aria-current=step]").all_inner_texts()
        seen.append(lit[-1])
    assert len(set(seen)) == 4
    assert path(view, ".link")
    assert view.locator(".ddpm-turn").inner_text().startswith("Turn 1,")


def test_a_loss_that_is_no_number_is_explained(view: Page) -> None:
    view.evaluate(
        """() => { const { model } = [...ddpmWidgets.values()].find((e) => e.model.get("_engine"));
        model.set("lr", 1e200); }"""
    )
    press(view, "Train")
    fault = view.locator(".ddpm-training .ddpm-fault")
    fault.get_by_text("the loss is no number any more").wait_for()
    assert "smaller learning rate" in fault.inner_text()


def test_samples_that_leave_the_picture_are_counted(view: Page) -> None:
    """With the cosine schedule a small error in eps throws the ODE's points far away."""
    view.get_by_label("Schedule", exact=True).select_option("cosine")
    press(view, "Train")
    turn_is(view, 100)
    pause(view)
    told = view.locator(".ddpm-told").all_inner_texts()
    outside = [re.search("([0-9]+) outside the picture", words) for words in told]
    by_ddpm, _, by_flow = (int(found[1]) if found else 0 for found in outside)
    assert by_ddpm < 20
    assert by_flow > 150


def test_a_page_in_the_background_rests(server: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{server}/{PAGE}")
    page.wait_for_function(READY)
    press(page, "Train")
    turn_is(page, 5)
    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", { get: () => window.away ?? true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    page.get_by_text("Waiting: the page is in the background.").wait_for()
    turn = page.locator(".ddpm-turn").inner_text()
    page.wait_for_timeout(500)
    assert page.locator(".ddpm-turn").inner_text() == turn
    page.evaluate(
        "() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    turn_is(page, 1 + int(turn.split()[1].rstrip(",")))
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_was_trained(server: str, visit: Open, scheme: str) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS, scheme=scheme)
    page.wait_for_function(READY)
    press(page, "Train")
    turn_is(page, 5)
    pause(page)
    settled(page)
    found = Axe().run(page, ".ddpm-training", options=OPTIONS).response["violations"]
    assert not found, "\n".join(map(told, found))


def test_under_the_policy_it_trains_too(site: Path, visit: Open) -> None:
    with served(site, POLICY) as server:
        page = visit(f"{server}/{PAGE}", without=LESS)
        page.wait_for_function(READY)
        press(page, "Train")
        turn_is(page, 5)
        press(page, "Pause")


def test_with_less_motion_the_samples_stand_still_for_longer(server: str, visit: Open) -> None:
    drawn = {}
    for motion in ("no-preference", "reduce"):
        page = visit(f"{server}/{PAGE}", without=LESS, reduced_motion=motion)
        page.wait_for_function(READY)
        press(page, "Train")
        turn_is(page, 5)
        drawn[motion] = page.evaluate(
            """async () => {
              const samples = document.querySelector(".ddpm-training .drawn");
              const seen = new Set();
              const watch = new MutationObserver(() => seen.add(samples.getAttribute("d")));
              watch.observe(samples, { attributes: true });
              await new Promise((resolve) => setTimeout(resolve, 6000));
              return seen.size;
            }"""
        )
        press(page, "Pause")
    assert drawn["reduce"] <= 2 < drawn["no-preference"]


def test_a_phone_has_it_all(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", width=390, has_touch=True, is_mobile=True)
    page.wait_for_function(READY)
    fits_a_phone(page)
    pad = page.locator(".ddpm-points")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "96 points" in (pad.get_attribute("aria-label") or "")


def test_the_small_one_trains(server: str, visit: Open) -> None:
    page = visit(f"{server}/book/01-introduction.html")
    page.wait_for_selector(".widget-host[data-ready]")
    assert page.locator(".ddpm-training select").count() == 1
    press(page, "Train")
    page.wait_for_function("document.querySelector('.ddpm-training .drawn').getAttribute('d')")
    press(page, "Pause")


# The page's widget, run again with the kernel that `window.kernel` is, in place of the page.
IN_A_NOTEBOOK = """async () => {
  const entry = [...ddpmWidgets.values()].find((e) => e.model.get("_engine"));
  const url = URL.createObjectURL(new Blob([entry.model.get("_esm")], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const model = new entry.model.constructor({ ...entry.model.state });
  delete model.assets;
  model.send = async (message) => {
    const { content, buffers } = await window.kernel(message);
    const views = buffers.map((b) => new DataView(Uint8Array.from(b).buffer));
    for (const hear of model.listeners.get("msg:custom") ?? []) hear(content, views);
  };
  const root = document.createElement("div");
  root.id = "notebook";
  document.querySelector("article").prepend(root);
  widget.render({ model, el: root });
}"""


def test_in_a_notebook_the_kernel_trains(view: Page) -> None:
    from ddpm_lite.widgets import Training

    widget = Training()
    answers: list[dict[str, object]] = []

    def kernel(message: dict[str, object]) -> dict[str, object]:
        widget.send = lambda told, data: answers.append(  # type: ignore[method-assign]
            {"content": told, "buffers": [list(b) for b in data]}
        )
        widget._answer(None, message, [])
        return answers[-1]

    view.expose_function("kernel", kernel)
    view.evaluate(IN_A_NOTEBOOK)
    view.locator("#notebook").get_by_role("button", name="Train", exact=True).click()
    view.wait_for_function(
        "/Turn [0-9]{2,},/.test(document.querySelector('#notebook').textContent)"
    )
    view.locator("#notebook").get_by_role("button", name="Pause", exact=True).click()
    view.locator("#notebook").get_by_text("by PyTorch in the kernel").wait_for()
    assert widget.turn >= 10
    own = PointNet(*NETWORK)
    vector_to_parameters(
        torch.cat([p.flatten() for p in widget.network.parameters()]),
        own.parameters(),
    )
    assert own(torch.zeros(1, 2), torch.tensor([5])).shape == (1, 2)
