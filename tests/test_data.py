"""Images and their scaling, exact both ways."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_lite import digits, from_model_range, photograph, to_model_range


@pytest.mark.proves("to_model_range")
@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_there_and_back_is_exact(levels: int, dtype: torch.dtype) -> None:
    values = torch.arange(levels)
    x = to_model_range(values, levels, dtype)
    assert x.dtype == dtype
    assert x[0] == -1
    assert x[-1] == 1
    assert torch.equal(from_model_range(x, levels), values)
    torch.testing.assert_close(
        x.diff(), torch.full_like(x[1:], 2 / (levels - 1)), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 256), (torch.float16, 2048)])
def test_short_floats_hold_so_many_levels(dtype: torch.dtype, most: int) -> None:
    for levels, exact in ((most, True), (2 * most, False)):
        values = torch.arange(levels)
        again = from_model_range(to_model_range(values, levels, dtype), levels)
        assert torch.equal(again, values) == exact


@given(st.floats(-3, 3), st.integers(2, 300))
def test_rounding_goes_to_the_nearest_level(x: float, levels: int) -> None:
    value = from_model_range(torch.tensor([x], dtype=torch.float64), levels)
    grid = to_model_range(torch.arange(levels), levels, torch.float64)
    chosen = grid[value].sub(x).abs().item()
    assert chosen <= grid.sub(x).abs().min().item() + 1e-6


def test_digits_are_scikit_learn_s() -> None:
    from sklearn.datasets import load_digits

    images, labels = digits("all")
    raw = load_digits()
    assert torch.equal(from_model_range(images[:, 0], 17).double(), torch.from_numpy(raw.images))
    assert labels.tolist() == raw.target.tolist()


def test_splits_share_nothing_and_lose_nothing() -> None:
    (train, train_labels), (test, test_labels) = digits("train"), digits("test")
    assert train.shape == (1498, 1, 8, 8)
    assert test.shape == (299, 1, 8, 8)
    assert sorted(train_labels.tolist() + test_labels.tolist()) == sorted(digits("all")[1].tolist())
    assert set(test_labels.tolist()) == set(range(10))
    assert torch.equal(test, digits("all")[0][5::6])  # fixed for good: results depend on it
    nearest = torch.cdist(test.flatten(1), train.flatten(1)).min()
    assert nearest > 0


@pytest.mark.parametrize("size", [1, 64, 427])
def test_photograph(size: int) -> None:
    image = photograph(size)
    assert image.shape == (1, 3, size, size)
    assert -1 <= image.min() <= image.max() <= 1
    again = to_model_range(from_model_range(image))
    assert torch.equal(image, again)  # its values are exactly the 256 levels


@pytest.mark.usefixtures("as_a_reader")
def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"values must be integers, got torch.float32"):
        to_model_range(torch.zeros(3))
    with pytest.raises(ValueError, match=r"values must lie in 0\.\.16, got 0\.\.17"):
        to_model_range(torch.tensor([0, 17]), levels=17)
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        to_model_range(torch.tensor([0]), levels=1)
    with pytest.raises(TypeError, match=r"x must be floating point, got torch.int64"):
        from_model_range(torch.tensor([0]))
    with pytest.raises(ValueError, match="got 2 NaN"):
        from_model_range(torch.tensor([torch.nan, 0.0, torch.nan]))
    with pytest.raises(ValueError, match="split must be train, test or all, got 'val'"):
        digits("val")
    with pytest.raises(ValueError, match=r"size must lie in 1\.\.427, got 500"):
        photograph(500)
