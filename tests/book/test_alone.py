"""What runs on a page, on an empty one: no book need be built, and the test decides who answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from ddpm_lite.javascript import as_module
from ddpm_lite.widgets import Clothes

from .test_webgpu import blank, script_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bare(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


# --- the comparison of scales, by a kernel that the test is --------------------------------------

BAG = 8
# `held` keeps the pictures back, so that something may be pressed in between.
ALONE = """async (state) => {
  window.held = undefined;
  const animate = requestAnimationFrame;
  window.requestAnimationFrame = (go) => (held ? held.push(go) : animate(go));
  window.release = () => { const gone = held; held = undefined; gone.forEach((go) => go(0)); };
  window.asked = [];
  const hears = new Map();
  const tell = (name, ...told) => [...(hears.get(name) ?? [])].forEach((hear) => hear(...told));
  let left;
  const answer = ({ do: what, id }) => {
    if (what === "begin") {
      left = [1000, 500, 0];
      return [{ id, times: left, alphaBar: [0, 0.5, 1], shape: [1, 1, 28, 28], where: "here" }];
    }
    const t = left[0];
    if (t) left = left.slice(1);
    const data = new DataView(new Float32Array(5 * 28 * 28).buffer);
    return [{ id, frames: [t], done: t === 0, ms: 1, steps: t ? 1 : 0 }, [data]];
  };
  window.model = {
    get: (name) => state[name],
    set(name, value) { state[name] = value; tell(`change:${name}`); },
    save_changes() {},
    on: (name, hear) => hears.set(name, [...(hears.get(name) ?? []), hear]),
    off() {},
    send(message) {
      asked.push({ ...message, label: state.label });
      const told = answer(message);
      setTimeout(() => tell("msg:custom", ...told));
    },
  };
  const url = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const root = document.createElement("div");
  document.body.append(root);
  widget.render({ model, el: root });
}"""


@pytest.fixture
def alone(bare: Page) -> Page:
    state = Clothes(steps=2).get_state()
    bare.evaluate(
        ALONE, {k: v for k, v in state.items() if isinstance(v, str | int | float | list)}
    )
    return bare


def until(page: Page, text: str) -> None:
    """Wait for the words below to begin so."""
    page.wait_for_function(
        "(text) => document.querySelector('.ddpm-words').textContent.startsWith(text)", arg=text
    )


def compare_until_drawing(page: Page) -> None:
    """Compare, and hold the first picture; what waits in frames would be held too."""
    page.evaluate("held = []")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_function("held.length >= 1", polling=50)


def test_a_comparison_is_of_one_setting(alone: Page) -> None:
    """To the end where nothing changes; another label ends it."""
    alone.get_by_role("button", name="Compare").click()
    until(alone, "One start at four scales")
    begun = alone.evaluate("asked.filter((m) => m.do === 'begin').map((m) => m.scale)")
    assert begun == [0, 1, 2, 4]
    compare_until_drawing(alone)
    count = alone.evaluate("asked.length")
    alone.locator("[name=label]").select_option(str(BAG))
    until(alone, "The settings changed")
    assert alone.locator(".ddpm-play").inner_text() == "Sample"
    alone.evaluate("release()")
    alone.wait_for_timeout(200)
    assert alone.evaluate("asked.length") == count
    until(alone, "The settings changed")


def test_a_comparison_takes_no_step_of_the_next_chain(alone: Page) -> None:
    """New noise, pressed while the comparison waits for its picture to be shown."""
    compare_until_drawing(alone)
    alone.get_by_role("button", name="New noise").click()
    alone.wait_for_function("held.length >= 2", polling=50)
    alone.evaluate("release()")
    until(alone, "Done: 1 image in 2 steps here")
    assert alone.evaluate("asked.map((m) => m.do)") == ["begin", "next", "begin", *["next"] * 3]


def test_a_comparison_that_is_stopped_says_so(alone: Page) -> None:
    compare_until_drawing(alone)
    alone.locator(".ddpm-play").click()
    until(alone, "Stopped.")
    count = alone.evaluate("asked.length")
    alone.evaluate("release()")
    alone.wait_for_timeout(200)
    assert alone.evaluate("asked.length") == count


# --- the sampler of the landing page -------------------------------------------------------------

QUIET = ROOT / "book" / "_static" / "quiet-sampler.js"
# Its script, the engine that the test is, and all that is said aloud and begun.
QUIETLY = """(known) => {
  window.started = [];
  let t = 1000;
  const model = { start(how) {
    started.push(how);
    t = 1000;
    const begun = { times: [1000, 500, 0] };
    const told = () => ({ frames: [{ t: (t -= 500), data: new Float32Array(3 * 8 * 64) }], ms: 1 });
    const ask = async ({ do: what }) => (what === "begin" ? begun : { ...told(), done: t === 0 });
    return { ask, stop() {} };
  } };
  if (known) window.ddpmModels = { digits: model };
  window.spoken = [];
  const status = document.querySelector("[role=status]");
  new MutationObserver(() => spoken.push(status.textContent)).observe(status, { childList: true });
}"""


def quiet(page: Page) -> Page:
    """It alone on a page of 127.0.0.1, where nobody listens and a model is not answered for."""
    page.route("http://127.0.0.1/", lambda r: r.fulfill(body="<!doctype html><title>a</title>"))
    script = QUIET.read_text()
    page.route(
        "http://127.0.0.1/quiet-sampler.js",
        lambda r: r.fulfill(body=script, content_type="text/javascript"),
    )
    page.goto("http://127.0.0.1/")
    page.evaluate(
        """document.body.innerHTML = '<div class="quiet-sampler" data-model="digits"></div>'"""
    )
    page.add_script_tag(url="quiet-sampler.js")
    return page


def test_the_quiet_sampler_says_where_it_begins_and_ends(bare: Page) -> None:
    page = quiet(bare)
    page.evaluate(QUIETLY, True)
    page.locator("button").click()
    page.get_by_role("button", name="Draw eight more").wait_for()
    first, *between, last = page.evaluate("spoken")
    assert (first, between) == ("Loading the network.", [])
    assert last.startswith("Drawn from noise in 1 steps")
    assert page.locator("button + span").inner_text() == last
    assert page.evaluate("started") == [{"gpu": False}]


@pytest.mark.parametrize("how", ["stopped", "failed"])
def test_the_quiet_sampler_has_drawn_nothing_yet(bare: Page, how: str) -> None:
    """Stopped while it loads, or not loaded: there were no eight before."""
    page = quiet(bare)
    page.evaluate(QUIETLY, False)
    loads = "http://127.0.0.1/models/*"
    if how == "failed":
        page.route(loads, lambda route: route.abort())
    else:
        page.route(loads, lambda route: None)  # it never comes
    page.locator("button").click()
    if how == "stopped":
        page.get_by_role("button", name="Stop").click()
    says = {"stopped": "Stopped.", "failed": "The model could not be loaded."}[how]
    page.locator("[role=status]").get_by_text(says).wait_for(state="attached")
    assert page.locator("button").inner_text() == "Draw eight digits"


# --- what a worker is made of --------------------------------------------------------------------

# The addresses that were made, and those that were given back.
COUNTED = """() => {
  window.made = [];
  window.gone = [];
  const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
  URL.createObjectURL = (blob) => (made.push(make.call(URL, blob)), made.at(-1));
  URL.revokeObjectURL = (url) => (gone.push(url), revoke.call(URL, url));
}"""
DRAWS = """async () => {
  const { where, ask, stop } = ddpmModels.x0.start();
  await ask({ do: "begin", sampler: "ddim", steps: 2 });
  const { frames } = await ask({ do: "next", ms: 0 });
  stop();
  return [where, frames.length, made, gone];
}"""


def test_the_address_of_an_engine_is_given_back(browser: Browser) -> None:
    page = blank(browser, script_of("x0"))
    page.evaluate(COUNTED)
    where, frames, made, gone = page.evaluate(DRAWS)
    page.close()
    assert (where, frames, len(made)) == ("worker", 1, 1)
    assert gone == made


# The engine of a training, of a program that says where it runs.
WHERE = """() => ({
  answerer: () => () => ({ page: "document" in globalThis }),
  listen() { onmessage = () => postMessage({ page: "document" in globalThis }); },
})"""
STARTS = """async ([text, program]) => {
  const url = `data:text/javascript,${encodeURIComponent(text)}`;
  const { startEngine } = await import(url);
  const { ask, stop } = await startEngine({ assets: "somewhere", get: () => program });
  const { page } = await ask({ do: "measure" });
  stop();
  return [page, made, gone];
}"""


@pytest.mark.parametrize("how", ["in a worker", "on the page"])
def test_the_address_of_a_training_is_given_back(browser: Browser, how: str) -> None:
    page = blank(browser, "")
    page.evaluate(COUNTED)
    if how == "on the page":
        page.evaluate("delete window.Worker")
    text = as_module(ROOT / "ddpm_lite" / "widgets" / "training_engine.js")
    on_page, made, gone = page.evaluate(STARTS, [text, WHERE])
    page.close()
    assert on_page == (how == "on the page")
    assert made
    assert gone == made
