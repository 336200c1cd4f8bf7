"""Training in the page: turns a second, and seconds until the samples are like the drawing.

    python benchmarks/points.py [rounds]

Runs the widget's engine in headless Chromium, on each of its sets at its first settings. Like the
drawing: the energy distance of 200 samples by Algorithm 2 to the drawing is at most twice that of
200 samples by the exact field, from the same noise. Times are medians of 7 seeds; they include the
samples that are drawn to look, which is done after each half second of turns. A round ends after
60 seconds, and says so.
"""

import platform
import shutil
import statistics
import sys

from playwright.sync_api import sync_playwright

from ddpm_lite.widgets import Training

ROUNDS, MOST = 7, 60
# Milliseconds from the button to the first loss; then turns and milliseconds, and whether in time.
TRAIN = """async ([program, settings, most]) => {
  const text = new Blob([`export default ${program}`], { type: "text/javascript" });
  const { default: make } = await import(URL.createObjectURL(text));
  const answer = make().answerer();
  const begun = performance.now();
  const { energy } = answer({ do: "begin", settings });
  answer({ do: "measure" });
  answer({ do: "train", ms: 0 });
  const first = performance.now() - begun;
  let [turn, trained, ratio] = [0, 0, Infinity];
  while (ratio > 2 && performance.now() - begun < 1000 * most) {
    const told = answer({ do: "train", ms: 500 });
    [turn, trained] = [told.turn, trained + told.ms];
    ratio = answer({ do: "sample", ways: ["ddpm"] }).energy[0] / energy;
  }
  return { first, turn, trained, ratio, all: performance.now() - begun };
}"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    widget = Training()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(0)
        print(f"{platform.machine()}, Chromium {browser.version}, {rounds} rounds")
        heads = f"{'first loss, ms':>14} {'turns a second':>14} {'turns':>6} {'seconds':>22}"
        print(f"{'set':12} {heads}")
        for name, points in widget._sets.items():
            settings = widget._how | {
                "points": points, "kind": "linear", "T": widget.T, "objective": "eps",
                "lr": widget.lr,
            }  # fmt: skip
            told = [
                page.evaluate(TRAIN, [widget._engine, settings | {"seed": seed}, MOST])
                for seed in range(rounds)
            ]
            first, turns = (statistics.median(one[k] for one in told) for k in ("first", "turn"))
            pace = statistics.median(1000 * one["turn"] / one["trained"] for one in told)
            times = sorted(one["all"] / 1000 for one in told)
            late = sum(one["ratio"] > 2 for one in told)
            seconds = f"{statistics.median(times):.1f} ({times[0]:.1f} to {times[-1]:.1f})"
            print(f"{name:12} {first:14.0f} {pace:14.0f} {turns:6.0f} {seconds:>22}", end="")
            print(f"  {late} not within {MOST} s" if late else "")
        browser.close()


if __name__ == "__main__":
    main()
