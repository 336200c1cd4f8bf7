"""Grids of images: every pixel where it belongs, and PNG files that read back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_lite.images.grids import grid, write_png


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 3])
def test_every_image_lies_in_its_place(channels: int, scale: int) -> None:
    images = torch.rand(5, channels, 4, 6) * 2 - 1
    picture = grid(images, columns=3, scale=scale)
    height, width = 4 * scale, 6 * scale
    assert picture.shape == (2 * height + 1, 3 * width + 2, channels)
    for i, image in enumerate(images):
        top, left = i // 3 * (height + 1), i % 3 * (width + 1)
        tile = picture[top : top + height, left : left + width]
        expected = ((image + 1) * 127.5).round().permute(1, 2, 0)
        assert torch.equal(tile[::scale, ::scale].float(), expected)
        assert torch.equal(tile[scale - 1 :: scale, scale - 1 :: scale].float(), expected)
    assert picture[height].max() == 0  # the line between
    assert picture[height + 1 :, 2 * (width + 1) :].max() == 0  # a place without an image


def test_what_lies_outside_is_clamped_and_columns_are_chosen() -> None:
    picture = grid(torch.full((16, 1, 1, 1), 7.0))
    assert picture.shape == (7, 7, 1)
    assert picture[0, 0] == 255


@pytest.mark.parametrize("channels", [1, 3])
def test_png_reads_back(channels: int, tmp_path: Path) -> None:
    picture = grid(torch.rand(4, channels, 3, 3) * 2 - 1)
    write_png(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == ("L" if channels == 1 else "RGB")
        assert np.array_equal(np.asarray(image), picture.squeeze(2).numpy())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"images must be .* got \(0, 1, 2, 2\)"):
        grid(torch.zeros(0, 1, 2, 2))
    with pytest.raises(ValueError, match=r"got \(2, 4, 2, 2\)"):
        grid(torch.zeros(2, 4, 2, 2))
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        grid(torch.zeros(2, 1, 2, 2), scale=0)
    with pytest.raises(ValueError, match="columns must be at least 1, got -1"):
        grid(torch.zeros(2, 1, 2, 2), columns=-1)
