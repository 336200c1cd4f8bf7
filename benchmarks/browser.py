"""The digits network in a browser: what is downloaded, how long it takes, and what it draws.

    python benchmarks/browser.py [samples]

Puts the exported script on an empty page of headless Chromium. Times are medians of 7 rounds. With
a number of samples, 749 say, it draws as many there by DDIM in 50 steps, and as many by PyTorch
from the same noise and from five other seeds, and prints the Fréchet distance of each to as many
training digits. The browser then works for minutes.
"""

import gzip
import platform
import shutil
import statistics
import sys
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from ddpm_lite import digits, load
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples
from ddpm_lite.runs.export import browser_script, float16_weights, runner
from ddpm_lite.widgets.sampler import walk

ROUNDS = 7
STEPS = 50
# Milliseconds to read the script, to start a worker and begin, to take the first step, and in all.
DRAW = """async ([script, options]) => {
  delete globalThis.ddpmModels;
  const marks = [performance.now()];
  (0, eval)(script);
  marks.push(performance.now());
  const engine = ddpmModels.digits.start();
  await engine.ask({ do: "begin", sampler: "ddim", clip: true, ...options });
  marks.push(performance.now());
  let end;
  for (let done = false; !done; ) {
    const reply = await engine.ask({ do: "next", ms: marks.length > 3 ? 50 : 0 });
    if (marks.length === 3) marks.push(performance.now());
    [done, end] = [reply.done, reply.frames.at(-1).data];
  }
  marks.push(performance.now());
  engine.stop();
  return [marks.map((mark) => mark - marks[0]), [...end.subarray(0, end.length / 3)]];
}"""


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    network, diffusion = load("digits")
    script = browser_script(network, diffusion, "digits")
    for name, text in (("the exported script", script), ("of it the runner", runner())):
        packed = len(gzip.compress(text.encode(), 6))
        print(f"{name}: {len(text.encode()):,} bytes, {packed:,} gzipped")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(0)

        def draw(**options: Any) -> Any:
            return page.evaluate(DRAW, [script, {"steps": STEPS, "images": 1, "seed": 0} | options])

        rounds = [draw(seed=seed)[0] for seed in range(ROUNDS + 1)][1:]
        read, begun, first, all_ = (statistics.median(r[i] for r in rounds) for i in (1, 2, 3, 4))
        print(f"script read after {read:.0f} ms, the worker ready after {begun:.0f}")
        print(f"first step after {first:.0f} ms, a {STEPS}-step digit after {all_:.0f}")
        low, high = (pick(r[4] for r in rounds) for pick in (min, max))
        print(f"  ({low:.0f} to {high:.0f}; a step {(all_ - first) / (STEPS - 1):.1f} ms)")
        if len(sys.argv) > 1:
            count = int(sys.argv[1])
            drawn = torch.tensor(draw(images=count)[1]).view(count, 1, 8, 8)
            compare(drawn, count)
        print(f"{platform.machine()}, Chromium {browser.version}, {ROUNDS} rounds")
        browser.close()


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
