"""Recipes: each makes a network and a diffusion that fit, and the paper's is the paper's."""

import pytest
import torch

from ddpm_lite import UNet, line_schedule, linear_schedule
from ddpm_lite.images.sets import ImageSet
from ddpm_lite.runs.recipes import RECIPES, DiffusionConfig
from ddpm_lite.unet import UNetConfig

SIZES = {"digits": (8, 1, 17), "fashion_mnist": (28, 1, 256), "cifar10": (32, 3, 256)}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_made(name: str) -> None:
    text, recipe = RECIPES[name]
    size, channels, levels = SIZES[recipe.data]
    images = torch.zeros(3, channels, size, size, dtype=torch.uint8)
    data = ImageSet(images, torch.tensor([0, 2, 1]), levels, name, "train")
    network, diffusion = recipe.make(data)
    assert network.classes == (4 if recipe.training.drop_label else None)
    x, t = torch.randn(2, channels, size, size), torch.tensor([1, diffusion.T])
    labels = None if network.classes is None else torch.tensor([0, 3])
    assert network(x, t, labels=labels).shape == x.shape
    assert diffusion.levels == levels
    assert text.endswith(".")


def test_the_paper_s_recipe_is_the_paper_s() -> None:
    """Ho et al. (2020), Appendix B, and the settings of its official scripts."""
    recipe = RECIPES["ho2020"][1]
    diffusion = recipe.diffusion.make(256)
    network = recipe.network.make(32, 3, diffusion)
    assert network.config == UNet.ho2020().config
    assert sum(p.numel() for p in network.parameters()) == 35_746_307
    assert torch.equal(diffusion.schedule.beta, linear_schedule().beta)
    training = recipe.training
    assert (training.steps, training.batch, training.lr) == (800_000, 128, 2e-4)
    assert (training.warmup, training.ema_decay, training.clip_norm) == (5000, 0.9999, 1.0)
    assert training.flip
    assert training.weight_decay == 0


def test_the_shipped_model_fits_a_browser() -> None:
    recipe = RECIPES["digits"][1]
    network = recipe.network.make(8, 1, recipe.diffusion.make(17))
    assert sum(p.numel() for p in network.parameters()) <= 400_000


def test_the_shipped_clothes_are_small_enough_to_ship() -> None:
    images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    data = ImageSet(images, torch.tensor([9]), 256, "clothes", "train")
    network, _ = RECIPES["fashion"][1].make(data)
    assert network.classes == 11
    assert 2 * sum(p.numel() for p in network.parameters()) < 2.5e6  # bytes, in float16


def test_labels_to_hide_must_be_there() -> None:
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    with pytest.raises(ValueError, match="drop_label is of images with labels, and those of bare"):
        RECIPES["fashion"][1].make(ImageSet(images, None, 256, "bare", "train"))


def test_settings_reach_what_is_made() -> None:
    config = DiffusionConfig("sigmoid", 50, objective="v", variance="learned", self_condition=True)
    diffusion = config.make(17)
    assert (diffusion.T, diffusion.objective, diffusion.variance) == (50, "v", "learned")
    network = UNetConfig(width=8, mults=(1,), block="convnext").make(8, 1, diffusion)
    assert (network.self_condition, network.learned_variance) == (True, True)
    assert network.config["block"] == "convnext"


def test_fewer_steps_rescale_the_linear_schedule() -> None:
    for T in (50, 1000, 2000):
        last = DiffusionConfig(T=T).make(256).schedule.alpha_bar[-1]
        assert last == pytest.approx(linear_schedule().alpha_bar[-1].item(), rel=1e-6)


def test_a_linear_schedule_has_ends_of_its_own_and_others_none() -> None:
    beta = DiffusionConfig(beta_start=2e-4, beta_end=0.03).make(256).schedule.beta
    assert (beta[1].item(), beta[-1].item()) == pytest.approx((2e-4, 0.03))
    for name, value in (("beta_start", 2e-4), ("beta_end", 0.03)):
        with pytest.raises(ValueError, match=f"{name} is of a linear schedule.* got {value}"):
            DiffusionConfig("sigmoid", **{name: value})


def test_the_line_of_flow_matching_is_a_schedule_for_u_and_not_for_eps() -> None:
    diffusion = DiffusionConfig(schedule="line", T=20, objective="u").make(17)
    assert torch.equal(diffusion.schedule.beta, line_schedule(20).beta)
    assert diffusion.objective == "u"
    with pytest.raises(ValueError, match="objective must be v, x0, mu or u, got 'eps'"):
        DiffusionConfig(schedule="line")
