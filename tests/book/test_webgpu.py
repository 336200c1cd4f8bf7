"""The exported engine on a GPU: by WebGPU, in a Chromium whose GPU is a program, SwiftShader.

What it computes is what PyTorch computes; whatever fails, the processor takes over. How fast a real
GPU is, this cannot tell.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page

from ddpm_lite.runs.export import browser_script
from ddpm_lite.widgets.sampler import step_noise, walk
from tests.browser import find
from tests.test_engine import CHAINS, made

ADDRESS = "http://127.0.0.1/"  # where nobody listens: what is asked for is answered here
FLAGS = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
HAS = "async () => !!(await navigator.gpu?.requestAdapter())"
ASK = """async ([name, asked]) => {
  const chain = ddpmModels[name].local({ gpu: "wait" });
  await chain.joining;
  const floats = (list) => list && Float64Array.from(list);
  const all = asked.flatMap(({ x, t, label, guess }) =>
    chain.questions(floats(x), t, label ?? undefined, floats(guess)));
  const said = await chain.answers(all);
  return [chain.refused, said.map((one) => [...one])];
}"""
# In a worker. The reasons are not sent, so a chain that is begun here says why there is none.
DRAW = """async ([name, how, options]) => {
  const engine = ddpmModels[name].start(how);
  await engine.ask({ do: "begin", ...options });
  const [frames, gpu] = [[], []];
  for (let done = false; !done; ) {
    const told = await engine.ask({ do: "next", ms: 0 });
    frames.push(...told.frames.map(({ t, data }) => [t, [...data]]));
    gpu.push(told.gpu);
    done = told.done;
  }
  engine.stop();
  return [frames, gpu];
}"""
# And why each device was lost: "destroyed" where it was given back.
BREAK = """async ([name, options, harm]) => {
  const devices = [];
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function () {
    devices.push(await request.call(this));
    return devices.at(-1);
  };
  const chain = ddpmModels[name].local({ gpu: "wait" });
  await chain.answer({ do: "begin", ...options });
  const had = !!chain.gpu;
  let frame = await chain.step();
  if (had) new Function("gpu", harm)(chain.gpu);
  while (frame.t > 0) frame = await chain.step();
  const late = new Promise((go) => setTimeout(() => go({ reason: "kept" }), 5000));
  const ends = await Promise.all(devices.map(({ lost }) => Promise.race([lost, late])));
  const reasons = ends.map(({ reason }) => reason);
  return [had, !!chain.gpu, chain.refused, [...frame.data], reasons];
}"""

# A chain that is ended, or whose device comes when nobody waits any more: why the device was lost.
END = """async (when) => {
  const request = GPUAdapter.prototype.requestDevice;
  let give;
  const given = new Promise((resolve) => (give = resolve));
  GPUAdapter.prototype.requestDevice = async function () {
    const wait = setTimeout;
    // Ten seconds are over at once.
    if (when === "late") globalThis.setTimeout = (then) => wait(then);
    const device = await request.call(this);
    await new Promise((resolve) => wait(resolve, 300));
    globalThis.setTimeout = wait;
    give(device);
    return device;
  };
  const chain = ddpmModels.x0.local({ gpu: "wait" });
  if (when === "joining") chain.stop();
  await chain.joining;
  const had = !!chain.gpu;
  if (when === "joined") chain.stop();
  const { lost } = await given;
  const late = new Promise((go) => setTimeout(() => go({ reason: "kept" }), 5000));
  const { reason } = await Promise.race([lost, late]);
  return [had, !!chain.gpu, reason];
}"""

# Steps by the GPU in the first answer, and in those after it has joined.
JOIN = """async ([name, options]) => {
  const chain = ddpmModels[name].local();
  await chain.answer({ do: "begin", ...options });
  const first = await chain.answer({ do: "next" });
  await chain.joining;
  const rest = await chain.answer({ do: "next", ms: 600_000 });
  return [first.gpu, rest.gpu, chain.refused, [...rest.frames.at(-1).data]];
}"""


@pytest.fixture(scope="module")
def with_gpu(browser: Browser) -> Iterator[Browser]:
    own = browser.browser_type.launch(executable_path=find(), args=FLAGS)
    page = blank(own, "")
    has = page.evaluate(HAS)
    page.close()
    if not has:
        pytest.skip("this Chromium has no WebGPU, not even as a program")
    yield own
    own.close()


def blank(browser: Browser, script: str) -> Page:
    """A page of its own, as safe as WebGPU asks for, with the script."""
    page = browser.new_page()
    page.set_default_timeout(600_000)
    page.route(
        f"{ADDRESS}**",
        lambda route: route.fulfill(body="<!doctype html><title>a page</title>"),
    )
    page.goto(ADDRESS)
    if script:
        page.add_script_tag(content=script)
    return page


def script_of(name: str) -> str:
    return browser_script(*made(name), name)


@pytest.mark.parametrize("name", ["eps", "x0", "v", "conditioned", "fashion"])
def test_one_call_agrees_with_pytorch(with_gpu: Browser, name: str) -> None:
    """With labels, the last of which is none, and with an earlier guess; all asked at once."""
    network, diffusion = made(name)
    shape = (1, network.channels, network.size, network.size)
    labels: list[Any] = [None]
    if network.classes is not None:
        labels = [0, network.classes - 2, network.classes - 1]
    guesses: list[Any] = [None]
    if network.self_condition:
        guesses.append(step_noise(9, 9, shape).float())
    asked, expected = [], []
    for t in (1, diffusion.T):
        x = step_noise(t, 0, shape).float()
        for label in labels:
            for guess in guesses:
                given = guess if guess is None else guess.flatten().tolist()
                asked.append({"x": x.flatten().tolist(), "t": t, "label": label, "guess": given})
                options = {} if label is None else {"labels": torch.tensor([label])}
                with torch.no_grad():
                    expected.append(network(x, torch.tensor([t]), guess, **options).flatten())
    page = blank(with_gpu, script_of(name))
    refused, got = page.evaluate(ASK, [name, asked])
    page.close()
    assert refused == ""
    for said, answer in zip(got, expected, strict=True):
        assert answer.std() > 0.1
        assert (torch.tensor(said) - answer).abs().max() < 1e-4


@pytest.mark.parametrize(("name", "options"), dict(reversed(CHAINS)).items(), ids=str)
def test_a_chain_agrees_with_pytorch(with_gpu: Browser, name: str, options: dict[str, Any]) -> None:
    """Every step by the GPU, in a worker; x_t to 1e-4 at every stop. A program is slow: the first
    chain of each network, and fewer steps than by node."""
    network, diffusion = made(name)
    images = 1 if name == "fashion" else 2
    most = 3 if name == "fashion" else 5
    options = {"seed": 11, **options, "steps": min(most, options["steps"])}
    shape = (network.channels, network.size, network.size)
    told, drawing = options | {"images": images}, None
    if "t_start" in options:
        drawing = torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)
        told["drawing"] = drawing.flatten().tolist()
    page = blank(with_gpu, script_of(name))
    got, by_gpu = page.evaluate(DRAW, [name, {"gpu": "wait"}, told])
    page.close()
    frames = list(walk(network, diffusion, images, drawing=drawing, **options))
    assert by_gpu == [1] * (len(frames) - 1) + [0]  # at t = 0 nothing is computed
    for (t, data), frame in zip(got, frames, strict=True):
        assert t == frame.t
        xt = torch.tensor(data).view(len(frame) - 1, images, *shape)[0]
        assert (xt - frame.xt).abs().max() < 1e-4 * max(1, frame.xt.abs().max().item())


OPTIONS: dict[str, Any] = {"sampler": "ddim", "steps": 5, "label": 1, "scale": 2.0, "seed": 4}


def expected_end() -> torch.Tensor:
    network, diffusion = made("x0")
    return list(walk(network, diffusion, 1, **OPTIONS))[-1].xt.flatten()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("gpu.device.destroy()", "was lost"),
        ("gpu.patience = 0", "does not answer"),
        ("gpu.ready.get(2).group = gpu.device.createBindGroup({ entries: [], "
         "layout: gpu.device.createBindGroupLayout({ entries: [] }) })", "dynamic offsets"),
        ("gpu.pipelines.norm = {}", "GPUComputePipeline"),
        ("gpu.answers = async (asked) => asked.map(({ x }) => x.map(() => NaN))", "is no number"),
    ],
    ids=[
        "a lost device", "no answer", "a validation error", "an error of the program", "no number",
    ],
)  # fmt: skip
def test_what_fails_on_the_way_goes_on_by_the_processor(
    with_gpu: Browser, harm: str, says: str
) -> None:
    page = blank(with_gpu, script_of("x0"))
    had, has, refused, data, reasons = page.evaluate(BREAK, ["x0", OPTIONS, harm])
    page.close()
    assert (had, has) == (True, False)
    assert says in refused
    assert reasons == ["destroyed"]
    end = torch.tensor(data).view(5, -1)[0]
    assert (end - expected_end()).abs().max() < 1e-4


# A chain, a step of which is by the GPU; then, once the device is lost and another is there, the
# rest of it, and a chain begun after it: steps by the GPU, and why there is none.
BEGIN = """async (options) => {
  globalThis.chain = ddpmModels.x0.local({ gpu: "wait" });
  await chain.answer({ do: "begin", ...options });
  return (await chain.answer({ do: "next" })).gpu;
}"""
GO_ON = """async (options) => {
  await chain.gpu.device.lost;
  while (!(await navigator.gpu.requestAdapter())) await new Promise((go) => setTimeout(go, 50));
  const ways = [];
  for (const begins of [false, true]) {
    if (begins) await chain.answer({ do: "begin", ...options });
    const { gpu, frames } = await chain.answer({ do: "next", ms: 600_000 });
    ways.push([gpu, chain.refused, [...frames.at(-1).data]]);
  }
  return ways;
}"""


def test_a_gpu_that_was_lost_is_asked_for_again_by_the_next_chain(with_gpu: Browser) -> None:
    """As when its driver begins anew: here the browser's GPU process ends, and another is begun."""
    own = with_gpu.browser_type.launch(executable_path=find(), args=FLAGS)
    page = blank(own, script_of("x0"))
    assert page.evaluate(BEGIN, OPTIONS) == 1
    own.new_browser_cdp_session().send("Browser.crashGpuProcess")
    (rest, why, one), (again, refused, two) = page.evaluate(GO_ON, OPTIONS)
    own.close()
    assert (rest, again, refused) == (0, 5, "")
    assert why != ""
    for data in (one, two):
        assert (torch.tensor(data).view(5, -1)[0] - expected_end()).abs().max() < 1e-4


# A first device that is lost while its pipelines are made, and the next chain.
EARLY = """async (options) => {
  const request = GPUAdapter.prototype.requestDevice;
  let asked = 0;
  GPUAdapter.prototype.requestDevice = async function () {
    const device = await request.call(this);
    if (asked++ === 0) {
      Object.defineProperty(device, "lost", { value: Promise.resolve({ reason: "unknown" }) });
      device.createComputePipelineAsync = async () => { throw new Error("the device is lost"); };
    }
    return device;
  };
  const chain = ddpmModels.x0.local({ gpu: "wait" });
  await chain.joining;
  const first = [!!chain.gpu, chain.refused];
  await chain.answer({ do: "begin", ...options });
  return [first, asked, !!chain.gpu, chain.refused, chain.again];
}"""


def test_a_gpu_that_was_lost_before_it_joined_is_asked_for_again(with_gpu: Browser) -> None:
    """And once one has joined, as often as before."""
    page = blank(with_gpu, script_of("x0"))
    first, *then = page.evaluate(EARLY, OPTIONS)
    page.close()
    assert first == [False, "the device is lost"]
    assert then == [2, True, "", 3]


NEVER = """async (options) => {
  let asked = 0;
  GPUAdapter.prototype.requestDevice = async () => { asked++; throw new Error("no device"); };
  const chain = ddpmModels.x0.local({ gpu: "wait" });
  const counts = [];
  for (const lost of [false, true, true, true, true]) {
    await chain.joining;
    chain.lost = lost;
    const begin = () => chain.answer({ do: "begin", ...options });
    await Promise.all([begin(), begin()]);
    counts.push(asked);
  }
  return counts;
}"""


def test_a_gpu_is_not_asked_for_for_ever(with_gpu: Browser) -> None:
    """Nor twice at a time, nor by the next chain where it was refused and none was lost."""
    page = blank(with_gpu, script_of("x0"))
    counts = page.evaluate(NEVER, OPTIONS)
    page.close()
    assert counts == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("fn convolve(", "fn no_such_layer(", '"convolve"'),
        ("let mean = sum(l, v) / count;", "let mean = 0.1;", "the GPU says something else"),
        ("unet.shift(block, told).entries()",
         "unet.shift(block, unet.told({ ...when, t: 40 })).entries()",
         "the GPU says something else"),
        ("const LONGEST = 2048;", "const LONGEST = 8;", "attends to 8 at most"),
        ("const APART = 256;", "const APART = 128;", "not 256 byte aligned"),
        ("if (adapter.info.isFallbackAdapter && !software)", "if (true)", "the GPU is a program"),
    ],
    ids=[
        "a shader that does not compile", "wrong numbers", "right at T alone", "too large",
        "a bad offset", "refused",
    ],
)  # fmt: skip
def test_a_gpu_that_cannot_is_never_taken(
    with_gpu: Browser, right: str, wrong: str, says: str
) -> None:
    script = script_of("x0")
    assert script.count(right) == 1
    page = blank(with_gpu, script.replace(right, wrong))
    had, has, refused, data, reasons = page.evaluate(BREAK, ["x0", OPTIONS, ""])
    page.close()
    assert (had, has) == (False, False)
    assert says in refused
    assert reasons == ([] if says == "the GPU is a program" else ["destroyed"])
    end = torch.tensor(data).view(5, -1)[0]
    assert (end - expected_end()).abs().max() < 1e-4


@pytest.mark.parametrize("when", ["joined", "joining", "late"])
def test_a_device_is_given_back(with_gpu: Browser, when: str) -> None:
    """When the chain is ended, before it has joined too, and when the device came too late."""
    page = blank(with_gpu, script_of("x0"))
    had, has, reason = page.evaluate(END, when)
    page.close()
    assert had == (when == "joined")
    assert (has, reason) == (False, "destroyed")


def test_a_program_is_not_taken_unasked(with_gpu: Browser) -> None:
    page = blank(with_gpu, script_of("x0"))
    said = page.evaluate(
        "async () => { const chain = ddpmModels.x0.local(); await chain.joining;"
        " return [!!chain.gpu, chain.refused]; }"
    )
    page.close()
    assert said == [False, "the GPU is a program"]


PROGRAM = "adapter.info.isFallbackAdapter && !software"
SLOWER = '(await first) === "late"'


def test_a_gpu_that_is_slower_is_not_taken(with_gpu: Browser) -> None:
    """As a program is, where it does not say so; the chain under way is drawn by the processor."""
    script = script_of("x0")
    assert script.count(PROGRAM) == 1
    page = blank(with_gpu, script.replace(PROGRAM, "false"))
    before, after, refused, data = page.evaluate(JOIN, ["x0", OPTIONS])
    page.close()
    assert (before, after, refused) == (0, 0, "the GPU is slower")
    end = torch.tensor(data).view(5, -1)[0]
    assert (end - expected_end()).abs().max() < 1e-4


def test_a_chain_begins_without_it_and_goes_on_with_it(with_gpu: Browser) -> None:
    """As on a reader's page: nothing waits, and the numbers are the same."""
    script = script_of("x0")
    for right in (PROGRAM, SLOWER):
        assert script.count(right) == 1
        script = script.replace(right, "false")
    page = blank(with_gpu, script)
    before, after, refused, data = page.evaluate(JOIN, ["x0", OPTIONS])
    page.close()
    assert (before, after, refused) == (0, 4, "")
    end = torch.tensor(data).view(5, -1)[0]
    assert (end - expected_end()).abs().max() < 1e-4


def test_without_a_gpu_the_processor_draws(browser: Browser) -> None:
    page = blank(browser, script_of("x0"))
    frames, by_gpu = page.evaluate(DRAW, ["x0", {"gpu": "wait"}, OPTIONS])
    page.close()
    assert sum(by_gpu) == 0
    end = torch.tensor(frames[-1][1]).view(5, -1)[0]
    assert (end - expected_end()).abs().max() < 1e-4
