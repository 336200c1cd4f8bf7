"""The weights of another library: the same numbers out, or an error that says what differs."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from ddpm_lite.runs.interop import CIFAR10, ZeroBased, load_diffusers
from ddpm_lite.unet import UNet

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """Their network with the wiring of the hub's, every parameter off its initial value."""
    torch.manual_seed(1)
    network = diffusers.UNet2DModel(
        sample_size=32,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    return network.eval()


@pytest.fixture
def state(theirs: nn.Module) -> dict[str, Tensor]:
    return dict(theirs.state_dict())


def assert_same(ours: nn.Module, theirs: nn.Module, times: tuple[int, ...]) -> None:
    x, t = torch.randn(len(times), 3, 32, 32), torch.tensor(times)
    with torch.no_grad():
        expected = theirs(x, t - 1).sample
        assert 0.1 < expected.std() < 10
        assert_close(ours(x, t), expected, rtol=1e-4, atol=1e-4)


def test_a_state_dict(theirs: nn.Module, state: dict[str, Tensor]) -> None:
    ours = load_diffusers(state)
    assert isinstance(ours, ZeroBased)
    assert not any(module.training for module in ours.modules())
    assert_same(ours, theirs, (1, 2, 500, 1000))
    with torch.no_grad():  # ours, not theirs by another name
        ours.model.conv_in.weight.zero_()
    assert theirs.conv_in.weight.any()


def test_each_parameter_goes_to_one_place(state: dict[str, Tensor]) -> None:
    ours = load_diffusers(state).model.state_dict()
    assert sum(v.numel() for v in ours.values()) == sum(v.numel() for v in state.values())
    assert sum(v.double().sum() for v in ours.values()).item() == pytest.approx(
        sum(v.double().sum() for v in state.values()).item()
    )


def test_a_folder_and_a_file(theirs: nn.Module, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").exists()
    assert_same(load_diffusers(tmp_path), theirs, (37,))
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    assert_same(load_diffusers(str(file)), theirs, (1000,))


def test_a_pipeline_and_its_variants(theirs: nn.Module, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "unet")
    (tmp_path / "model_index.json").write_text("{}")
    assert_same(load_diffusers(tmp_path), theirs, (37,))
    plain = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    half = {name: x.half() for name, x in theirs.state_dict().items()}
    plain.unlink()
    for i, variant in enumerate(("fp16", "non_ema")):
        save_file(half, plain.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
        if i == 0:
            ours = load_diffusers(tmp_path)
            assert all(p.dtype == torch.float32 for p in ours.parameters())
            assert torch.equal(ours.model.conv_in.weight, half["conv_in.weight"].float())
    with pytest.raises(ValueError, match=r"several weights, .*fp16\.safeten.*non_ema.*path of one"):
        load_diffusers(tmp_path)
    theirs.save_pretrained(tmp_path / "unet")
    assert_same(load_diffusers(tmp_path), theirs, (37,))  # the plain one goes before its variants


@pytest.mark.usefixtures("as_a_reader")
@pytest.mark.parametrize("inner", [".", "unet"])
def test_a_folder_of_pickles(tmp_path: Path, inner: str) -> None:
    (tmp_path / inner).mkdir(exist_ok=True)
    (tmp_path / inner / "config.json").write_text(json.dumps(CIFAR10))
    (tmp_path / inner / "diffusion_pytorch_model.bin").write_bytes(b"not looked at")
    with pytest.raises(ValueError, match=r"model\.bin: .*pickles.*save as safetensors"):
        load_diffusers(tmp_path)
    (tmp_path / inner / "config.json").write_text(json.dumps({**CIFAR10, "act_fn": "gelu"}))
    with pytest.raises(ValueError, match="act_fn must be 'silu', got 'gelu'"):
        load_diffusers(tmp_path)


def test_the_names_of_older_files(theirs: nn.Module, state: dict[str, Tensor]) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in state.items():
        for new, former in old.items():
            name = name.replace(f".{new}.", f".{former}.")
        renamed[name] = tensor
    assert sum(".query." in name for name in renamed) == 12  # six attentions, weight and bias
    assert_same(load_diffusers(renamed), theirs, (500,))


@pytest.mark.usefixtures("as_a_reader")
def test_weights_that_do_not_fit(state: dict[str, Tensor]) -> None:
    weight = state.pop("mid_block.attentions.0.to_k.weight")
    with pytest.raises(
        ValueError, match=r"missing from .*: mid_block\.attentions\.0\.to_k\.weight$"
    ):
        load_diffusers(state)
    state["mid_block.attentions.0.to_k.weight"] = weight[:128]
    with pytest.raises(
        ValueError, match=r"0\.to_k\.weight must have shape \(256, 256\), got \(128, 256\)"
    ):
        load_diffusers(state)
    state["mid_block.attentions.0.to_k.weight"] = weight
    state["class_embedding.weight"] = weight
    with pytest.raises(ValueError, match=r"unexpected in .*: class_embedding\.weight$"):
        load_diffusers(state)
    with pytest.raises(ValueError, match=r"missing from the state dict: conv_in.* more$"):
        load_diffusers({})


@pytest.mark.usefixtures("as_a_reader")
def test_another_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    for key, value in CIFAR10.items():
        config.write_text(json.dumps({**CIFAR10, key: "other"}))
        with pytest.raises(ValueError, match=f"{key} must be .*, got 'other'"):
            load_diffusers(tmp_path)
        config.write_text(json.dumps({k: v for k, v in CIFAR10.items() if k != key}))
        if value is not None:
            with pytest.raises(ValueError, match=f"{key} must be .*, got nothing"):
                load_diffusers(tmp_path)
    # Switches that change what comes out and leave every weight its shape.
    silent = {
        "freq_shift": 0, "flip_sin_to_cos": True, "norm_eps": 1e-5, "norm_num_groups": 16,
        "attn_norm_num_groups": 16, "attention_head_dim": 8, "act_fn": "gelu",
        "center_input_sample": True, "downsample_padding": 1, "mid_block_scale_factor": 2,
    }  # fmt: skip
    for key, other in silent.items():
        config.write_text(json.dumps({**CIFAR10, key: other}))
        with pytest.raises(ValueError, match=f"{key} must be .*, got {other!r}"):
            load_diffusers(tmp_path)
    config.write_text(json.dumps(CIFAR10))
    with pytest.raises(FileNotFoundError, match=r"no weights at .*model\.safetensors"):
        load_diffusers(tmp_path)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "weights.pt", "weights"])
@pytest.mark.usefixtures("as_a_reader")
def test_a_pickle_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not looked at")
    with pytest.raises(ValueError, match=rf"{name}: .*pickles.*safetensors"):
        load_diffusers(tmp_path / name)


def test_zero_based_is_given_t_minus_one_and_all_the_rest() -> None:
    seen = []

    def model(xt: Tensor, t: Tensor, *args: object, **kwargs: object) -> Tensor:
        seen.append((t.tolist(), args, kwargs))
        return 2 * xt

    x = torch.randn(2, 3, 4, 4)
    assert_close(ZeroBased(model)(x, torch.tensor([1, 1000]), None, labels=3), 2 * x)
    assert seen == [([0, 999], (None,), {"labels": 3})]


def test_zero_based_takes_the_tensor_out() -> None:
    x, t = torch.randn(2, 3), torch.tensor([1, 2])
    assert_close(ZeroBased(lambda xt, t: SimpleNamespace(sample=-xt))(x, t), -x)


def test_zero_based_holds_the_weights_of_a_module() -> None:
    network = UNet(8, 1, 8)
    adapted = ZeroBased(network)
    assert [id(p) for p in adapted.parameters()] == [id(p) for p in network.parameters()]
    nn.init.normal_(network.conv_out.weight)
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert_close(adapted(x, torch.tensor([1, 7])), network(x, torch.tensor([0, 6])))


@pytest.mark.usefixtures("as_a_reader")
def test_zero_based_refuses_what_is_no_tensor() -> None:
    with pytest.raises(TypeError, match=r"a tensor, or one in \.sample, got tuple"):
        ZeroBased(lambda xt, t: (xt,))(torch.zeros(1, 3), torch.tensor([1]))
