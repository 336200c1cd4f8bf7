"""What runs on a page, on an empty one: no book need be built, and the test decides who answers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from ddpm_lite.widgets import Clothes


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
    """Compare, and hold the first picture."""
    page.evaluate("held = []")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_function("held.length === 1")


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
    alone.wait_for_function("held.length === 2")
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
