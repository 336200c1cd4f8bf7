"""The sampler on the built page: the same model as in Python, and nothing that hangs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Locator, Page

from ddpm_lite import GaussianDiffusion, UNet, linear_schedule, load, spaced_times
from ddpm_lite.runs.export import browser_script, float16_weights
from ddpm_lite.widgets import Sampler
from ddpm_lite.widgets.sampler import step_noise, walk

from .conftest import HTML, LESS, Open, fits_a_phone
from .widgets import Answering, know_mathematics

PAGE = "book/09-sampling.html"
READY = "document.querySelectorAll('.widget-host[data-ready]').length === 2"
MODEL = HTML / "_static" / "models" / "digits.js"
# A chain from beginning to end, as [t, x_t, x0_hat and eps_hat in one list] at every stop.
CHAIN = """async ([name, options]) => {
  const engine = ddpmModels[name].local();
  const frames = [];
  await engine.answer({ do: "begin", ...options });
  for (let done = false; !done; ) {
    const reply = await engine.answer({ do: "next", ms: 1000 });
    frames.push(...reply.frames.map((frame) => [frame.t, [...frame.data]]));
    done = reply.done;
  }
  return frames;
}"""
# The page's sampler, run again with the kernel that `window.kernel` is, in place of the page.
IN_A_NOTEBOOK = """async (state) => {
  const entry = [...ddpmWidgets.values()].find((e) => e.model.get("_name") !== undefined);
  const url = URL.createObjectURL(new Blob([entry.model.get("_esm")], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const model = new entry.model.constructor({ ...entry.model.state, ...state });
  delete model.assets;
  model.save_changes = () => window.saved?.(JSON.stringify(model.state.drawing));
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


@pytest.fixture
def view(server: str, visit: Open) -> Page:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_function(READY)
    return page


@pytest.fixture
def bare(browser: Browser, server: str) -> Iterator[Page]:
    """A page on which things are made to fail."""
    page = browser.new_page()
    yield page
    page.close()


def opened(page: Page, server: str) -> Page:
    page.goto(f"{server}/{PAGE}")
    page.wait_for_function(READY)
    return page


def ours(page: Page) -> Locator:
    return page.locator(".ddpm-sampler").first


def press(page: Page, name: str) -> None:
    ours(page).get_by_role("button", name=name, exact=True).click()


def words(page: Page) -> str:
    return ours(page).locator(".ddpm-words").inner_text()


def until(page: Page, text: str, where: str = ".ddpm-sampler .ddpm-words") -> None:
    """Wait for the text to begin so."""
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.textContent.startsWith(text)",
        arg=[where, text],
    )


def pixels(page: Page, which: int = 0) -> list[int]:
    return page.evaluate(
        """(which) => { const c = document.querySelectorAll(".ddpm-sampler canvas")[which];
        return [c.width, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }""",
        which,
    )


def sampled(page: Page, **choices: str) -> None:
    """Sample to the end, few steps unless told otherwise."""
    ours(page).get_by_role("slider", name="Steps").fill("3")  # ten
    for name, value in choices.items():
        ours(page).locator(f"[name={name}]").select_option(value)
    ours(page).locator(".ddpm-play").click()
    until(page, "Done: ")


# --- the same model ------------------------------------------------------------------------------


def other_network() -> tuple[UNet, GaussianDiffusion]:
    """Unlike the digits network in all that the script reads off its weights."""
    torch.manual_seed(0)
    network = UNet(8, 3, 16, (1, 2, 2), (4, 2), 1, heads=2, head_width=6)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08 if parameter.ndim > 1 else 0.5)
    with torch.no_grad():  # so weak a signal that the norm's own 1e-6 counts
        network.conv_in.weight *= 0.01
        network.conv_in.bias.zero_()
    return network.eval(), GaussianDiffusion(linear_schedule(40, 0.01, 0.2))


@pytest.fixture(params=["digits", "another"])
def both(request: pytest.FixtureRequest, bare: Page) -> tuple[Page, UNet, GaussianDiffusion, str]:
    """A page that has a network, and the network with the same weights rounded to float16."""
    name = request.param
    network, diffusion = load("digits") if name == "digits" else other_network()
    built = MODEL.read_text() if name == "digits" else browser_script(network, diffusion, name)
    bare.add_script_tag(content=built)
    return bare, float16_weights(network), diffusion, name


def test_one_evaluation_agrees_with_pytorch(
    both: tuple[Page, UNet, GaussianDiffusion, str],
) -> None:
    page, network, diffusion, name = both
    shape = (1, network.channels, network.size, network.size)
    for t in (1, diffusion.T // 3, diffusion.T):
        x = step_noise(t, 0, shape).float()
        got = page.evaluate(
            "([name, x, t]) => [...ddpmModels[name].local().epsHat(Float64Array.from(x), t)]",
            [name, x.flatten().tolist(), t],
        )
        with torch.no_grad():
            expected = network(x, torch.tensor([t])).flatten()
        assert expected.std() > 0.1
        assert (torch.tensor(got) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "ddim", "steps": 50},
        {"sampler": "ddim", "steps": 16, "eta": 1.0},
        {"sampler": "ddpm", "steps": 40},
        {"sampler": "ddpm", "steps": 40, "variance": "beta_tilde"},
        {"sampler": "ddpm", "steps": 20, "t_start": 33},
    ],
    ids=lambda o: "-".join(map(str, o.values())),
)
def test_a_whole_chain_agrees_with_pytorch(
    both: tuple[Page, UNet, GaussianDiffusion, str], options: dict[str, Any]
) -> None:
    """x_t at every stop, and the sample, to 1e-4; the guess divides by the signal: to 1e-3."""
    page, network, diffusion, name = both
    options = {"seed": 11, **options, "steps": min(options["steps"], diffusion.T)}
    drawn = "t_start" in options
    shape = (network.channels, network.size, network.size)
    drawing = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape) if drawn else None
    told = options | {"images": 2, "drawing": drawing.flatten().tolist() if drawn else None}
    got = page.evaluate(CHAIN, [name, told])
    frames = list(walk(network, diffusion, 2, drawing=drawing, **options))
    assert [t for t, _ in got] == [frame.t for frame in frames]
    for (t, data), frame in zip(got, frames, strict=True):
        parts = torch.tensor(data).view(3, 2, *shape)
        assert (parts[0] - frame.xt).abs().max() < 1e-4, f"x_t at {t}"
        assert (parts[1] - frame.x0_hat).abs().max() < 1e-3, f"the guess at {t}"
        assert (parts[2] - frame.eps_hat).abs().max() < 1e-3, f"the noise at {t}"
    assert frames[-1].xt.std() > 0.3


def test_without_the_clip_too(bare: Page) -> None:
    """Relative to what comes out, which is in the hundreds."""
    bare.add_script_tag(content=MODEL.read_text())
    network, diffusion = load("digits")
    got = bare.evaluate(CHAIN, ["digits", {"sampler": "ddim", "steps": 50, "clip": False}])
    end = list(walk(float16_weights(network), diffusion, 1, clip=False))[-1].xt.flatten()
    data = torch.tensor(got[-1][1])[:64]
    assert (data - end).abs().max() < 1e-4 * end.abs().max()


@pytest.mark.parametrize(("last", "steps"), [(1000, 50), (1000, 16), (1000, 999), (7, 7), (9, 2)])
def test_stops_agree_with_python(bare: Page, last: int, steps: int) -> None:
    know_mathematics(bare)
    got = bare.evaluate("(args) => mathematics.spacedTimes(...args)", [last, steps])
    assert got == [0, *spaced_times(last, steps)]


# --- taken apart ---------------------------------------------------------------------------------


def test_nothing_is_loaded_before_it_is_asked_for(server: str, bare: Page) -> None:
    asked: list[str] = []
    bare.on("request", lambda request: asked.append(request.url))
    opened(bare, server)
    bare.wait_for_load_state("networkidle")
    assert not [url for url in asked if "models/" in url]
    sampled(bare)
    press(bare, "New noise")
    until(bare, "Done: ")
    assert len([url for url in asked if "models/" in url]) == 1


def test_it_draws_what_python_draws(base: str, visit: Open) -> None:
    """Through button, script, worker and canvas, to the last grey level but one; as a file too."""
    view = visit(f"{base}/{PAGE}", without=LESS)
    view.wait_for_function(READY)
    sampled(view)
    assert words(view).startswith("Done: 4 images in 10 steps in your browser, ")
    network, diffusion = load("digits")
    end = list(walk(float16_weights(network), diffusion, 4, steps=10))[-1].xt
    width, *data = pixels(view)
    assert width == 17
    shown = torch.tensor(data).view(17, 17, 4)[..., 0]
    for b in range(4):
        row, column = 9 * (b // 2), 9 * (b % 2)
        expected = (127.5 * (end[b, 0] + 1)).clamp(0, 255)
        assert (shown[row : row + 8, column : column + 8] - expected).abs().max() <= 1


def test_the_finished_chain_can_be_scrubbed(view: Page) -> None:
    sampled(view)
    slider = ours(view).get_by_role("slider", name="Look at t")
    seen = []
    for key, t in (("Home", 1000), ("ArrowRight", 900), ("End", 0), ("ArrowLeft", 100)):
        slider.focus()
        view.keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == f"{t} of 1000"
        assert words(view).startswith(f"At t = {t}, stop {10 - t // 100} of 10")
        seen.append(str([pixels(view, i) for i in range(3)]))
    assert len(set(seen)) == 4
    press(view, "Step back")
    assert slider.get_attribute("aria-valuetext") == "200 of 1000"
    press(view, "Step forward")
    assert slider.get_attribute("aria-valuetext") == "100 of 1000"


def test_it_goes_step_by_step_from_the_beginning(view: Page) -> None:
    ours(view).get_by_role("slider", name="Steps").fill("2")  # five
    forward = ours(view).get_by_role("button", name="Step forward")
    for i, t in enumerate((1000, 800, 600, 400, 200)):
        forward.click()
        until(view, f"At t = {t}, stop {i} of 5")
        assert ours(view).locator(".ddpm-play").inner_text() == "Go on"
    forward.click()
    until(view, "Done: 4 images in 5 steps")
    assert forward.is_disabled()


def test_it_pauses_and_goes_on(view: Page) -> None:
    ours(view).locator("[name=images]").select_option("16")
    ours(view).get_by_role("slider", name="Steps").fill("7")  # two hundred
    ours(view).locator(".ddpm-play").click()
    view.wait_for_function("+document.querySelector('.ddpm-sampler [name=stop]').max > 2")
    press(view, "Pause")
    until(view, "At t = ")
    seen = words(view)
    view.wait_for_timeout(300)
    assert words(view) == seen
    press(view, "Step back")
    back = words(view)
    assert back != seen
    view.wait_for_timeout(300)
    assert words(view) == back  # what was still computed does not jump the view ahead
    press(view, "Go on")
    view.wait_for_function(
        "(seen) => { const now = document.querySelector('.ddpm-sampler .ddpm-words').textContent;"
        "return now.startsWith('At t = ') && parseInt(now.slice(7)) < parseInt(seen.slice(7)); }",
        arg=seen,
    )


def test_new_settings_end_the_chain(view: Page) -> None:
    sampled(view)
    for name, value in (("sampler", "ddpm"), ("variance", "beta_tilde"), ("clip", "off")):
        before = pixels(view)
        ours(view).locator(f"[name={name}]").select_option(value)
        if name == "sampler":
            assert words(view).startswith("The settings changed")
        ours(view).locator(".ddpm-play").click()
        until(view, "Done: ")
        assert pixels(view) != before
    assert ours(view).get_by_role("slider", name="η").is_disabled()
    ours(view).locator("[name=seed]").fill("41")
    ours(view).locator("[name=seed]").press("Enter")
    press(view, "New noise")
    assert ours(view).locator("[name=seed]").input_value() == "42"


def test_lines_light_up(view: Page) -> None:
    """One after the other where the pace is slow, and what they say follows the settings."""
    lines = ours(view).locator(".ddpm-lines :is(li, p)")
    assert "no noise is drawn" in lines.nth(2).inner_text()
    ours(view).locator("[name=sampler]").select_option("ddpm")
    assert "if t > 1" in lines.nth(2).inner_text()
    assert "held in [" in lines.nth(3).inner_text()
    ours(view).locator("[name=clip]").select_option("off")
    assert "held" not in lines.nth(3).inner_text()
    ours(view).get_by_role("slider", name="Steps").fill("1")  # two
    ours(view).locator("[name=pace]").select_option("slow")
    view.evaluate(
        """() => { window.lit = [];
        const lines = [...document.querySelectorAll(".ddpm-lines :is(li, p)")];
        new MutationObserver(() => {
          const now = lines.flatMap((l, i) => (l.getAttribute("aria-current") ? [i] : [])).join();
          if (now && now !== lit.at(-1)) lit.push(now);
        }).observe(lines[0].closest(".ddpm-lines"), { subtree: true, attributes: true }); }"""
    )
    ours(view).locator(".ddpm-play").click()
    until(view, "Done: ")
    assert view.evaluate("lit") == ["0", *["1", "2", "3"] * 3, "4"]


# --- a drawing -----------------------------------------------------------------------------------


def drawing(page: Page) -> torch.Tensor:
    return torch.tensor(
        page.evaluate(
            "[...ddpmWidgets.values()].find((e) => e.model.get('_name')).model.get('drawing')"
        )
    ).view(8, 8)


def test_a_drawing_by_mouse_is_where_the_chain_begins(view: Page) -> None:
    pad = ours(view).get_by_role("application")
    assert not pad.is_visible()
    ours(view).locator("[name=start]").select_option("drawing")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    cell = box["width"] / 8
    view.mouse.move(box["x"] + 4.5 * cell, box["y"] + 1.5 * cell)
    view.mouse.down()
    view.mouse.move(box["x"] + 4.5 * cell, box["y"] + 6.5 * cell, steps=4)
    view.mouse.up()
    view.mouse.move(box["x"] + 0.5 * cell, box["y"] + 0.5 * cell)  # the button is up
    x = drawing(view)
    assert (x[1:7, 4] > 0.9).all()
    assert (x[:, :3] == -1).all()
    ours(view).get_by_role("slider", name="Noise it to t").fill("300")
    sampled(view)
    slider = ours(view).get_by_role("slider", name="Look at t")
    assert slider.get_attribute("max") == "3"
    slider.fill("0")
    assert slider.get_attribute("aria-valuetext") == "300 of 1000"
    _, diffusion = load("digits")
    xt = diffusion.q_sample(x.view(1, 1, 8, 8), 300, step_noise(0, 0, (1, 1, 8, 8)).float())
    shown = torch.tensor(pixels(view)[1:]).view(17, 17, 4)[:8, :8, 0]
    assert (shown - (127.5 * (xt[0, 0] + 1)).clamp(0, 255)).abs().max() <= 1
    press(view, "Wipe the pad")
    assert (drawing(view) == -1).all()
    assert words(view).startswith("The settings changed")


def test_a_drawing_by_keys(view: Page) -> None:
    ours(view).locator("[name=start]").select_option("drawing")
    ours(view).get_by_role("application").focus()
    for key in ("ArrowUp", "ArrowLeft", "Space", "ArrowDown", "Space", "Backspace"):
        view.keyboard.press(key)
    x = drawing(view)
    assert x[3, 3] == 1
    assert x[4, 3] == -1
    assert "Row 5, column 4: empty." in ours(view).inner_text()
    assert ours(view).locator(".ddpm-cursor").is_visible()


def test_a_drawing_by_finger_on_a_phone(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", width=390, has_touch=True, is_mobile=True)
    page.wait_for_function(READY)
    ours(page).locator("[name=start]").select_option("drawing")
    fits_a_phone(page)
    pad = ours(page).get_by_role("application")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] * 2.5 / 8, box["y"] + box["height"] * 5.5 / 8)
    assert drawing(page)[5, 2] > 0.9
    assert pad.evaluate("(pad) => getComputedStyle(pad).touchAction") == "none"
    for control in ours(page).locator("button, select, input").all():
        box = control.bounding_box()
        assert box is None or box["height"] >= 24  # a finger's width


# --- what goes wrong -----------------------------------------------------------------------------


def fault(page: Page) -> Locator:
    return ours(page).get_by_role("alert")


def test_a_model_that_cannot_be_loaded_is_said_and_tried_again(server: str, bare: Page) -> None:
    bare.route("**/models/*", lambda route: route.abort())
    opened(bare, server)
    ours(bare).locator(".ddpm-play").click()
    fault(bare).wait_for()
    assert "could not be loaded. Are you connected?" in fault(bare).inner_text()
    bare.unroute("**/models/*")
    sampled(bare)
    assert not fault(bare).is_visible()


def test_a_file_that_is_something_else_is_said(server: str, bare: Page) -> None:
    bare.route("**/models/*", lambda r: r.fulfill(body="", content_type="text/javascript"))
    opened(bare, server)
    ours(bare).locator(".ddpm-play").click()
    fault(bare).wait_for()
    assert "holds no model" in fault(bare).inner_text()


def test_loading_can_be_cancelled(server: str, bare: Page) -> None:
    bare.route("**/models/*", lambda route: None)  # for ever
    opened(bare, server)
    ours(bare).locator(".ddpm-play").click()
    until(bare, "Loading the model")
    press(bare, "Cancel")
    assert ours(bare).locator(".ddpm-play").inner_text() == "Load the model and sample"


@pytest.mark.parametrize("how", ["delete window.Worker", "window.Worker = class { constructor() "
                                 "{ throw new Error('not here'); } }"])  # fmt: skip
def test_without_a_worker_it_runs_on_the_page_and_says_so(
    server: str, bare: Page, how: str
) -> None:
    bare.add_init_script(how)
    opened(bare, server)
    sampled(bare)
    assert "in your browser, without a worker: the page may stutter" in words(bare)


def test_a_worker_that_breaks_is_said(server: str, bare: Page) -> None:
    bare.add_init_script(
        """window.Worker = class { postMessage() {
        setTimeout(() => this.onerror?.({ message: "no room for a worker" })); }
        addEventListener() {} terminate() {} }"""
    )
    opened(bare, server)
    ours(bare).locator(".ddpm-play").click()
    fault(bare).wait_for()
    assert "no room for a worker" in fault(bare).inner_text()
    assert ours(bare).locator(".ddpm-play").is_enabled()


def test_a_worker_that_says_nothing_is_given_up(server: str, bare: Page) -> None:
    bare.add_init_script(
        "window.Worker = class { postMessage() {} addEventListener() {} terminate() {} }"
    )
    bare.clock.install()
    opened(bare, server)
    ours(bare).locator(".ddpm-play").click()
    until(bare, "Loading the model")
    bare.clock.run_for(6_000)  # the page loads it instead, for another worker
    bare.wait_for_function("document.querySelector('.ddpm-lines .lit')")
    bare.clock.run_for(21_000)
    fault(bare).wait_for()
    assert "No answer for 20 seconds" in fault(bare).inner_text()


def test_a_page_in_the_background_waits(server: str, bare: Page) -> None:
    bare.add_init_script(
        """window.away = false;
        Object.defineProperty(document, "hidden", { get: () => window.away });"""
    )
    opened(bare, server)
    ours(bare).get_by_role("slider", name="Steps").fill("7")
    ours(bare).locator(".ddpm-play").click()
    until(bare, "At t = ")
    bare.evaluate("window.away = true")
    until(bare, "Waiting: the page is in the background.")
    at = ours(bare).get_by_role("slider", name="Look at t").get_attribute("max")
    bare.wait_for_timeout(300)
    assert ours(bare).get_by_role("slider", name="Look at t").get_attribute("max") == at
    bare.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    until(bare, "At t = ")


# --- in a notebook -------------------------------------------------------------------------------


class Kernel(Answering, Sampler):
    """The Python side."""


def test_in_a_notebook_pytorch_draws(server: str, visit: Open) -> None:
    page = visit(f"{server}/{PAGE}", without=LESS)
    page.wait_for_function(READY)
    kernel = Kernel(steps=5, seed=3)
    page.expose_function("kernel", kernel.answer)
    page.evaluate(IN_A_NOTEBOOK, {"steps": 5, "seed": 3})
    assert ours(page).locator(".ddpm-play").inner_text() == "Sample"
    ours(page).locator(".ddpm-play").click()
    until(page, "Done: 4 images in 5 steps by PyTorch on the CPU")
    end = list(kernel.walk())[-1].xt
    shown = torch.tensor(pixels(page)[1:]).view(17, 17, 4)[:8, :8, 0]
    assert (shown - (127.5 * (end[0, 0] + 1)).clamp(0, 255)).abs().max() <= 0.51


def test_a_kernel_that_is_gone_or_fails_is_said(server: str, bare: Page) -> None:
    bare.clock.install()
    opened(bare, server)
    bare.evaluate("() => { window.kernel = () => new Promise(() => {}); }")
    bare.evaluate(IN_A_NOTEBOOK, {})
    ours(bare).locator(".ddpm-play").click()
    bare.wait_for_function("document.querySelector('#notebook .lit')")
    bare.clock.run_for(61_000)
    fault(bare).wait_for()
    assert "No answer for 60 seconds. Is the kernel busy, or gone?" in fault(bare).inner_text()
    bare.evaluate(
        """() => { window.kernel = async ({ id }) =>
        ({ content: { id, error: "RuntimeError: out of memory" }, buffers: [] }); }"""
    )
    ours(bare).locator(".ddpm-play").click()
    bare.wait_for_function(
        "document.querySelector('#notebook .ddpm-fault').textContent.includes('out of memory')"
    )


def test_another_network_needs_its_notebook(server: str, bare: Page) -> None:
    opened(bare, server)
    bare.evaluate(
        "[...ddpmWidgets.values()].find((e) => e.model.get('_name')).model.set('_name', '')"
    )
    ours(bare).locator(".ddpm-play").click()
    fault(bare).wait_for()
    assert "run the notebook to sample from it" in fault(bare).inner_text()


# --- the landing page ----------------------------------------------------------------------------

LANDING = "book/intro.html"


def test_the_landing_page_draws_when_asked(base: str, visit: Open) -> None:
    page = visit(f"{base}/{LANDING}")
    quiet = page.locator(".quiet-sampler")
    button = quiet.get_by_role("button")
    assert button.inner_text() == "Draw eight digits"
    box = button.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900  # above the fold
    assert not page.evaluate("'ddpmModels' in window")
    before = quiet.screenshot()
    button.click()
    until(page, "Drawn from noise in 50 steps", ".quiet-sampler [role=status]")
    assert quiet.screenshot() != before
    assert "Eight digits" in (quiet.locator("canvas").get_attribute("aria-label") or "")
    assert button.inner_text() == "Draw eight more"


def test_the_landing_page_says_what_goes_wrong(server: str, bare: Page) -> None:
    bare.route("**/models/*", lambda route: route.abort())
    bare.goto(f"{server}/{LANDING}")
    bare.locator(".quiet-sampler button").click()
    until(bare, "The model could not be loaded.", ".quiet-sampler [role=status]")
    bare.unroute("**/models/*")
    bare.locator(".quiet-sampler button").click()
    until(bare, "Step t = ", ".quiet-sampler button + span")
    bare.get_by_role("button", name="Stop").click()
    until(bare, "Stopped.", ".quiet-sampler [role=status]")


def test_pages_stay_light_until_asked() -> None:
    """What the sampler adds to a page's first load, packed as a server sends it: under 30 KB."""
    import gzip

    def packed(text: str) -> int:
        return len(gzip.compress(text.encode()))

    state = json.dumps({"_esm": Sampler._esm, "_css": Sampler._css})
    assert packed(state) < 30_000
    landing = Path(HTML / "_static" / "quiet-sampler.js").read_text()
    assert len(landing) < 10_000
