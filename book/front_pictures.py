"""Make the social card and the README's moving picture again.

    make book && python book/front_pictures.py

The card shows walks back from noise by the network of chapter 1, trained here: about a minute on
two CPU cores. The moving picture is the widget of chapter 2 on the built page, in Chromium. How
each was made is stored inside its file.
"""

import datetime
import io
import math
import platform
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from ddpm_lite import (
    GaussianDiffusion,
    TrainConfig,
    UNet,
    ddpm,
    digits,
    linear_schedule,
    plots,
    train,
)
from ddpm_lite.system.files import written_aside
from PIL import Image
from playwright.sync_api import sync_playwright

SEED, STEPS = 0, 1000
ROOT = Path(__file__).parents[1]
CARD = ROOT / "book" / "_static" / "card.png"
MOVING = ROOT / ".github" / "widget.webp"
PAGE = ROOT / "_build" / "html" / "book" / "02-forward-process.html"
TIMES = (999, 600, 400, 300, 200, 150, 100, 50, 0)
FRAMES, MILLISECONDS, WIDTH = 32, 120, 640
MOVE = """(slider, t) => {
    slider.value = t;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def card() -> None:
    torch.manual_seed(SEED)
    images, _ = digits()
    diffusion = GaussianDiffusion(linear_schedule())
    network = UNet(size=8, width=16, mults=(1, 2))
    config = TrainConfig(steps=STEPS, seed=SEED)
    *_, last = train(network, diffusion, images, config)
    generator = torch.Generator().manual_seed(SEED)
    walk = ddpm(diffusion, last.ema, (2, 1, 8, 8), generator=generator)
    kept = torch.stack([step.xt for step in walk if step.t in TIMES], dim=1)
    plots.setup()
    # 1200 x 630 pixels, as those who show such cards ask for.
    figure = plt.figure(figsize=(12, 6.3), dpi=100)
    figure.set_layout_engine("none")
    ink, blue = plots.INK, plots.COLORS[0]
    figure.text(0.05, 0.82, "DDPM, equation by equation", size=44, color=ink)
    figure.text(
        0.05,
        0.71,
        "How denoising diffusion works, every equation executed and checked",
        size=21,
        color=blue,
    )
    width, gap = 0.9 / len(TIMES), 0.006
    for row in range(2):
        for column, image in enumerate(kept[row]):
            place = (0.05 + column * width, 0.43 - 0.205 * row)
            size = (width - gap, (width - gap) * 12 / 6.3)
            ax = figure.add_axes((*place, *size))
            ax.imshow(image[0], cmap="gray", vmin=-1, vmax=1)
            ax.axis("off")
    equation = (
        r"$x_{t-1} = \frac{1}{\sqrt{\alpha_t}}\left(x_t - "
        r"\frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,"
        r"\varepsilon_\theta(x_t, t)\right) + \sigma_t\, z$"
    )
    figure.text(0.05, 0.085, equation, size=21, color=ink)
    made = {
        "Software": f"torch {torch.__version__} on {platform.machine()} CPU",
        "Comment": f"book/front_pictures.py; seed {SEED}, {STEPS} steps",
        "Creation Time": datetime.date.today().isoformat(),
    }
    with written_aside(CARD) as aside:
        plt.savefig(aside, format="png", metadata=made)
    print(CARD)


def moving(chromium: str) -> None:
    frames = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 900, "height": 1000})
        page.goto(PAGE.as_uri())
        page.wait_for_selector(".widget-host[data-ready]")
        page.add_style_tag(content=".widget-host { padding: 16px; }")
        host, slider = page.locator(".widget-host"), page.get_by_label("Step t")
        host.scroll_into_view_if_needed()
        place = host.bounding_box()
        for i in range(FRAMES):  # to the end and back, slowly at both ends
            t = round(500 * (1 - math.cos(2 * math.pi * i / FRAMES)))
            slider.evaluate(MOVE, t)
            page.wait_for_timeout(100)  # the widget draws with the next frame
            frame = Image.open(io.BytesIO(page.screenshot(clip=place)))
            frame.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            frames.append(frame)
        browser.close()
    comment = "book/front_pictures.py, " + datetime.date.today().isoformat()
    exif = Image.Exif()
    exif[0x010E] = comment  # ImageDescription
    film = {"append_images": frames[1:], "duration": MILLISECONDS, "loop": 0}
    with written_aside(MOVING) as aside:
        frames[0].save(
            aside,
            "webp",
            save_all=True,
            **film,
            quality=45,
            method=6,
            exif=exif,
        )
    print(MOVING)


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None or not PAGE.exists():
        sys.exit(
            f"needs Chromium and {PAGE}: apt-get install chromium; make book"
        )
    moving(chromium)
    card()


if __name__ == "__main__":
    main()
