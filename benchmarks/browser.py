"""The exported networks in a browser: what is downloaded, how long it takes, and what it draws.

    python benchmarks/browser.py [samples]

Puts the exported scripts on an empty page of headless Chromium, without a GPU. Times are medians of
7 rounds. With a number of samples, 749 say, it draws as many digits there by DDIM in 50 steps, and
as many by PyTorch from the same noise and from five other seeds, and prints the Fréchet distance of
each to as many training digits. The browser then works for minutes.
"""

import gzip
import os
import platform
import shutil
import statistics
import sys
from typing import Any

import torch
from playwright.sync_api import Page, sync_playwright

from ddpm_lite import digits, load
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples
from ddpm_lite.runs.export import browser_script, float16_weights, runner
from ddpm_lite.widgets.sampler import walk

ROUNDS = 7
STEPS = 50
# Milliseconds to read the script, to start a worker and begin, to take the first step, and in all;
# then the longest task that the page itself had.
DRAW = """async ([name, script, how, options]) => {
  let longest = 0;
  const watch = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
  });
  watch.observe({ type: "longtask" });
  const marks = [performance.now()];
  if (script) {
    const node = document.createElement("script");
    node.src = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    await new Promise((loaded) => { node.onload = loaded; document.head.append(node); });
  }
  marks.push(performance.now());
  const engine = ddpmModels[name].start(how);
  const { fast } = await engine.ask({ do: "begin", sampler: "ddim", clip: true, ...options });
  if (fast !== how.fast) throw new Error(`asked for fast = ${how.fast}, got ${fast}`);
  marks.push(performance.now());
  let end;
  for (let done = false; !done; ) {
    const reply = await engine.ask({ do: "next", ms: marks.length > 3 ? 50 : 0 });
    if (marks.length === 3) marks.push(performance.now());
    [done, end] = [reply.done, reply.frames.at(-1).data];
    await new Promise((resolve) => setTimeout(resolve)); // as a page that shows each answer
  }
  marks.push(performance.now());
  engine.stop();
  watch.disconnect();
  return [[...marks.map((mark) => mark - marks[0]), longest], [...end]];
}"""


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    packed = len(gzip.compress(runner().encode(), 6))
    print(f"the runner: {len(runner().encode()):,} bytes, {packed:,} gzipped")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(0)
        for name, options in (
            ("digits", {"steps": STEPS}),
            ("fashion", {"steps": 25, "label": 9, "scale": 2.0}),
        ):
            time(page, name, browser_script(*load(name), name), options)
        if len(sys.argv) > 1:
            count = int(sys.argv[1])
            drawn = draw(page, "digits", "", True, {"steps": STEPS, "images": count, "seed": 0})[1]
            compare(torch.tensor(drawn[: 64 * count]).view(count, 1, 8, 8), count)
        load_ = " ".join(f"{x:.1f}" for x in os.getloadavg())
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {load_}, ", end="")
        print(f"Chromium {browser.version}, {ROUNDS} rounds")
        browser.close()


def draw(page: Page, name: str, script: str, fast: bool, options: dict[str, Any]) -> Any:
    return page.evaluate(DRAW, [name, script, {"fast": fast}, {"images": 1} | options])


def time(page: Page, name: str, script: str, options: dict[str, Any]) -> None:
    size, packed = len(script.encode()), len(gzip.compress(script.encode(), 6))
    print(f"{name}, {options}: {size:,} bytes, {packed:,} gzipped")
    for fast in (True, False):
        rounds = []
        for seed in range(ROUNDS + 1):
            page.goto("about:blank")  # a page that has not loaded it
            rounds.append(draw(page, name, script, fast, options | {"seed": seed})[0])
        read, begun, first, all_, longest = zip(*[r[1:] for r in rounds[1:]], strict=True)
        middle = statistics.median
        print(f"  {'WebAssembly' if fast else 'JavaScript alone'}: ", end="")
        print(
            f"read after {middle(read):.0f} ms, the worker ready after {middle(begun):.0f}, ",
            end="",
        )
        print(f"the first step after {middle(first):.0f}, the picture after {middle(all_):.0f}")
        pace = (middle(all_) - middle(first)) / (options["steps"] - 1)
        print(f"    ({min(all_):.0f} to {max(all_):.0f}; a step {pace:.1f} ms; ", end="")
        print(f"the page's longest task {max(longest):.0f} ms, 0 if none took 50)")


def compare(drawn: torch.Tensor, count: int) -> None:
    network, diffusion = load("digits")
    short, features = float16_weights(network), load_classifier().features
    real = digits("train")[0]
    real = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:count]]

    def distance(x: torch.Tensor) -> float:
        return evaluate_samples(x.clamp(-1, 1), real, features, split="train").frechet

    def by_pytorch(model: Any, seed: int) -> torch.Tensor:
        for frame in walk(model, diffusion, count, steps=STEPS, seed=seed):
            end = frame.xt
        return end

    same = by_pytorch(short, 0)
    print(f"Fréchet distance, {count} samples against {count} training digits:")
    print(f"  the browser {distance(drawn):.4f}, PyTorch from the same noise {distance(same):.4f}")
    print(f"  (pixels apart by {(drawn - same).abs().max():.1e} at most)")
    scores = [distance(by_pytorch(network, seed)) for seed in range(1, 6)]
    print(f"  PyTorch, float32 weights, five seeds: {statistics.mean(scores):.2f}", end="")
    print(f", standard deviation {statistics.stdev(scores):.2f}")


if __name__ == "__main__":
    main()
