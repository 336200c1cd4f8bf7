"""Weights and states on disk: they come back whole, and what is not ours is refused unread."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from ddpm_lite import GaussianDiffusion, UNet, cosine_schedule, linear_schedule
from ddpm_lite.runs.checkpoints import (
    about,
    card,
    load,
    load_state,
    save_model,
    save_state,
    shipped,
)
from tests.systems import linux_only

DIFFUSION = GaussianDiffusion(cosine_schedule(50), "v", "learned", self_condition=True, levels=17)


def network(**changes: object) -> UNet:
    options = {"width": 8, "mults": (1, 2), "self_condition": True, "learned_variance": True}
    net = UNet(8, 1, **{**options, **changes})  # type: ignore[arg-type]
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wiring": "note", "block": "note", "linear_attention": (8,), "heads": 2, "head_width": 4},
        {"block": "convnext", "time": "random", "attention": (4,), "dropout": 0.2},
        {"classes": 3, "time": "learned"},
    ],
)
def test_what_is_saved_comes_back(changes: dict[str, object], tmp_path: Path) -> None:
    net = network(**changes).eval()
    save_model(tmp_path / "a.safetensors", net, DIFFUSION, {"step": 7})
    again, diffusion = load(tmp_path / "a.safetensors")
    assert not again.training
    assert again.config == net.config
    assert diffusion.config == DIFFUSION.config
    assert torch.equal(diffusion.schedule.beta, DIFFUSION.schedule.beta)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 50])
    labels = torch.tensor([0, 2]) if "classes" in changes else None
    assert torch.equal(again(x, t, x, labels), net(x, t, x, labels))
    assert about(tmp_path / "a.safetensors")["about"] == {"step": 7}


def test_schedules_come_back_to_the_last_bit(tmp_path: Path) -> None:
    schedule = linear_schedule(37, 1e-3, 0.3)
    save_model(tmp_path / "a.safetensors", UNet(8, 1, 8), GaussianDiffusion(schedule))
    assert torch.equal(load(tmp_path / "a.safetensors")[1].schedule.beta, schedule.beta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_keep_their_type(dtype: torch.dtype, tmp_path: Path) -> None:
    net, path = network().to(dtype).eval(), tmp_path / "a.safetensors"
    save_model(path, net, DIFFUSION)
    again, _ = load(path)
    for (name, one), two in zip(
        again.named_parameters(), [*net.parameters(), *net.buffers()], strict=False
    ):
        assert one.dtype == dtype
        assert torch.equal(one, two), name
    if dtype == torch.float64:
        x = torch.randn(2, 1, 8, 8, dtype=dtype)
        assert torch.equal(again(x, torch.tensor([3, 50]), x), net(x, torch.tensor([3, 50]), x))
    net.conv_in.bias.data = net.conv_in.bias.data.float()
    with pytest.raises(ValueError, match=r"of one type, got .* and torch.float32 in conv_in.bias"):
        save_model(path, net, DIFFUSION)


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
def test_a_file_may_be_smaller_than_its_network(own: torch.dtype, tmp_path: Path) -> None:
    net = network().to(own).eval()
    paths = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_model(paths[0], net, DIFFUSION)
    save_model(paths[1], net, DIFFUSION, store=torch.float16)
    whole, half = (path.stat().st_size for path in paths)
    assert half < (0.6 if own == torch.float32 else 0.35) * whole
    again, _ = load(paths[1])
    for (name, one), two in zip(again.named_parameters(), net.parameters(), strict=True):
        assert one.dtype == own
        assert torch.equal(one, two.half().to(own)), name
    x, t = torch.randn(2, 1, 8, 8, dtype=own), torch.tensor([3, 50])
    assert_close(again(x, t, x), net(x, t, x), rtol=0, atol=1e-2)


def test_what_a_smaller_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="in float32 or float64, got one in bfloat16"):
        save_model(path, network().bfloat16(), DIFFUSION, store=torch.float16)
    with pytest.raises(ValueError, match=r"must be floating point, got torch\.int8"):
        save_model(path, net, DIFFUSION, store=torch.int8)
    net.conv_in.bias.data[0] = 1e5  # float16 ends at 65504
    with pytest.raises(ValueError, match=r"conv_in.bias must be finite"):
        save_model(path, net, DIFFUSION, store=torch.float16)
    assert not list(tmp_path.iterdir())


def test_a_name_of_ours_goes_before_a_file_of_it_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model("digits", network(), DIFFUSION)
    with pytest.warns(
        UserWarning, match=r"digits are the weights .*; for the file write \./digits"
    ):
        assert load("digits")[0].config["width"] == 20
    assert load("./digits")[0].config["width"] == load(Path("digits"))[0].config["width"] == 8


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match="network must be a UNet, got Linear"):
        save_model(path, nn.Linear(2, 2), DIFFUSION)
    with pytest.raises(ValueError, match="save the whole chain, not 2 of 50 steps"):
        save_model(path, network(), DIFFUSION.subsequence([20, 50]))
    assert not list(tmp_path.iterdir())


@linux_only("/dev/full")
def test_a_full_disk(tmp_path: Path) -> None:
    """/dev/full takes no byte: the error is the system's own, and the old weights stay."""
    path = tmp_path / "a.safetensors"
    save_model(path, network(), DIFFUSION)
    before = path.read_bytes()
    os.symlink("/dev/full", tmp_path / "a.safetensors.part")
    with pytest.raises(OSError, match="No space left"):
        save_state(path, {"x": torch.zeros(100_000)})
    assert path.read_bytes() == before


@pytest.mark.usefixtures("as_a_reader")
def test_cut_short_foreign_and_unfitting_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, network(), DIFFUSION)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not a whole safetensors file"):
            load(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="must carry a configuration of format 'ddpm-lite 1', got"):
        load(path)
    path.write_bytes(whole)
    tensors, says = load_file(path), about(path)
    for part, key, value, expected in (
        ("network", "width", 16, "size mismatch"),
        ("network", "mults", [1, 2, 2], "Missing key"),
        ("network", "depth", 3, "unexpected keyword argument"),
        ("network", "width", -4, "width must be a positive multiple"),
        ("network", "attention", {}, "attention must be a tuple of integers, got dict"),
        ("network", "self_condition", [], "self_condition must be True or False, got tuple"),
        ("diffusion", "objective", "y", "objective must be one of"),
        ("diffusion", "self_condition", 1, "self_condition must be True or False, got 1"),
    ):
        changed = {**says, part: {**says[part], key: value}}
        metadata = {name: json.dumps(v) for name, v in changed.items()}
        save_file(tensors, path, {"format": "ddpm-lite 1", **metadata})
        with pytest.raises(ValueError, match=f"(?s)do not fit their configuration: .*{expected}"):
            load(path)
    says = {name: json.dumps(v) for name, v in says.items()} | {"type": "float8"}
    save_file(tensors, path, {"format": "ddpm-lite 1", **says})
    with pytest.raises(ValueError, match="its type must be float32 or float64, got 'float8'"):
        load(path)


class Hostile:
    """A pickle that would make a file when it is opened."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_hostile_file_runs_nothing(suffix: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "it_ran", tmp_path / f"a.{suffix}"
    for write in (
        lambda: torch.save({"model": Hostile(mark)}, path),
        lambda: path.write_bytes(pickle.dumps(Hostile(mark))),
    ):
        write()
        with pytest.raises(
            ValueError, match=r"run code when they are opened|nothing in it was run"
        ):
            load(path) if suffix == "safetensors" else load_state(path)
        assert not mark.exists()
    pickle.loads(path.read_bytes())  # the test's own bait is good
    assert mark.exists()


def test_states_come_back_or_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    state = {"step": 3, "x": torch.randn(3), "nested": {"y": [1.5, "z"]}}
    save_state(path, state)
    again = load_state(path)
    assert torch.equal(again.pop("x"), state.pop("x"))
    assert again == state
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no training state, or cut short"):
            load_state(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="expected a dict, got list"):
        load_state(path)


def test_unknown_names() -> None:
    with pytest.raises(FileNotFoundError, match="no weights at dogs; with the package come: "):
        load("dogs")


@pytest.mark.parametrize("name", shipped())
def test_shipped_weights_load_and_say_where_they_are_from(name: str) -> None:
    net, diffusion = load(name)
    size = net.config["size"]
    x = torch.randn(2, net.config["channels"], size, size)
    labels = None if net.classes is None else torch.tensor([0, net.classes - 1])
    assert net(x, torch.tensor([1, diffusion.T]), labels=labels).shape == x.shape
    says, measured = about(name)["about"], card(name)
    for what in ("command", "seed", "device", "date", "step"):
        assert measured[what] == says[what], what
    assert measured["parameters"] == sum(p.numel() for p in net.parameters())
    with pytest.raises(FileNotFoundError, match="no card of dogs; with the package come: "):
        card("dogs")
