"""The exported networks in a browser: what is downloaded, how long it takes, and what it draws.

    python benchmarks/browser.py [samples]

Serves the exported scripts to an empty page of headless Chromium, without a GPU, and loads them as
the widgets do. Times are medians of 7 rounds, each on a new page: on the clock, and on the
processor, all threads of all of Chromium's processes together. The last row of each network is a
phone's: a window of 390 pixels, and the page's own thread four times as slow (the worker's is not;
nothing in Chromium slows that one).

With a number of samples, 749 say, it draws as many digits there by DDIM in 50 steps, and as many by
PyTorch from the same noise and from five other seeds, and prints the Fréchet distance of each to as
many training digits. The browser then works for minutes. benchmarks/clothes.py does so for clothes.
"""

import gzip
import http.server
import os
import platform
import shutil
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from playwright.sync_api import Browser, Page, sync_playwright

from ddpm_lite import digits, load
from ddpm_lite.javascript import ENGINE, as_module
from ddpm_lite.quality.classifier import load_classifier
from ddpm_lite.quality.evaluation import evaluate_samples
from ddpm_lite.runs.export import browser_script, float16_weights, runner
from ddpm_lite.widgets.sampler import walk

ROUNDS = 7
STEPS = 50
SLOWER = 4  # a phone's page than this machine's
PAGE = """<!doctype html><title>a page</title><script type="module">
  import { startModel } from "./models.js";
  globalThis.startModel = startModel;
  globalThis.tasks = [];
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) tasks.push([startTime, duration]);
  }).observe({ type: "longtask" });
</script>"""
# Milliseconds from the button on: until the worker has the model and has begun, until the first
# step is taken, and until the picture is there; then all tasks of the page longer than 50.
DRAW = """async ([name, how, options]) => {
  await new Promise((resolve) => setTimeout(resolve)); // out of the task that asked for this
  const begun = performance.now();
  const engine = await startModel("./", name, how);
  const { fast } = await engine.ask({ do: "begin", sampler: "ddim", clip: true, ...options });
  if (fast !== how.fast) throw new Error(`asked for fast = ${how.fast}, got ${fast}`);
  const marks = [performance.now()];
  let end;
  for (let done = false; !done; ) {
    const reply = await engine.ask({ do: "next", ms: marks.length > 1 ? 50 : 0 });
    if (marks.length === 1) marks.push(performance.now());
    [done, end] = [reply.done, reply.frames.at(-1).data];
    await new Promise((resolve) => setTimeout(resolve)); // as a page that shows each answer
  }
  marks.push(performance.now());
  engine.stop();
  await new Promise((resolve) => setTimeout(resolve, 100)); // the last task is told of later
  const long = tasks.filter(([start]) => start >= begun).map(([, duration]) => duration);
  return [marks.map((mark) => mark - begun), long, [...end]];
}"""


def main() -> None:
    packed = len(gzip.compress(runner().encode(), 6))
    print(f"the runner: {len(runner().encode()):,} bytes, {packed:,} gzipped")
    with opened("digits", "fashion") as (browser, address):
        for name, options in (
            ("digits", {"steps": STEPS}),
            ("fashion", {"steps": 25, "label": 9, "scale": 2.0}),
        ):
            size, packed = sizes(browser_script(*load(name), name))
            print(f"{name}, {options}: {size:,} bytes, {packed:,} gzipped")
            for what, fast, phone in (
                ("WebAssembly", True, False),
                ("JavaScript alone", False, False),
                ("WebAssembly, on a phone", True, True),
            ):
                print(f"  {what}: ", end="", flush=True)
                time(browser, address, name, fast, phone, options)
        if len(sys.argv) > 1:
            count = int(sys.argv[1])
            page = visit(browser, address)
            drawn = draw(page, "digits", True, {"steps": STEPS, "images": count, "seed": 0})[-1]
            compare(torch.tensor(drawn[: 64 * count]).view(count, 1, 8, 8), count)
        load_ = " ".join(f"{x:.1f}" for x in os.getloadavg())
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {load_}, ", end="")
        print(f"Chromium {browser.version}, {ROUNDS} rounds")


@contextmanager
def opened(*names: str) -> Iterator[tuple[Browser, str]]:
    """A browser, and the address of an empty page that can load these networks."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    files = {f"/models/{name}.js": browser_script(*load(name), name) for name in names}
    files |= {"/models.js": as_module(ENGINE.parents[1] / "models.js"), "/": PAGE}

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            text = files.get(self.path)
            self.send_response(404 if text is None else 200)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write((text or "").encode())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            yield browser, f"http://127.0.0.1:{server.server_port}/"
            browser.close()
        server.shutdown()


def visit(browser: Browser, address: str, phone: bool = False) -> Page:
    """A new page, as new as to a new visitor."""
    width = 390 if phone else 1280
    context = browser.new_context(viewport={"width": width, "height": 844}, is_mobile=phone)
    page = context.new_page()
    page.set_default_timeout(0)
    page.goto(address)
    page.wait_for_function("'startModel' in window")
    if phone:
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    return page


def draw(page: Page, name: str, fast: bool, options: dict[str, Any]) -> Any:
    return page.evaluate(DRAW, [name, {"fast": fast, "gpu": False}, {"images": 1} | options])


def sizes(text: str) -> tuple[int, int]:
    return len(text.encode()), len(gzip.compress(text.encode(), 6))


def spent(browser: Browser) -> float:
    """Milliseconds on the processor of all of the browser's processes so far."""
    devtools = browser.new_browser_cdp_session()
    told = devtools.send("SystemInfo.getProcessInfo")
    devtools.detach()
    return 1000 * sum(process["cpuTime"] for process in told["processInfo"])


def time(
    browser: Browser, address: str, name: str, fast: bool, phone: bool, options: dict[str, Any]
) -> None:
    rounds, tasks = [], []
    for seed in range(ROUNDS + 1):
        page = visit(browser, address, phone)
        before = spent(browser)
        marks, long, _ = draw(page, name, fast, options | {"seed": seed})
        rounds.append([*marks, spent(browser) - before])
        tasks += long if seed else []
        page.context.close()
    begun, first, all_, processor = zip(*rounds[1:], strict=True)
    middle = statistics.median
    print(f"begun after {middle(begun):.0f} ms, the first step after {middle(first):.0f}, ", end="")
    print(f"the picture after {middle(all_):.0f} ({min(all_):.0f} to {max(all_):.0f}); ", end="")
    pace = (middle(all_) - middle(first)) / (options["steps"] - 1)
    print(f"a step {pace:.1f}; on the processor {middle(processor):.0f} ", end="")
    print(f"({min(processor):.0f} to {max(processor):.0f}); ", end="")
    longest = f", the longest {max(tasks):.0f}" if tasks else ""
    print(f"tasks of the page over 50 ms, in all rounds: {len(tasks)}{longest}")


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
