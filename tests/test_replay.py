"""Recordings of launches, with a recorder that needs no GPU: the same numbers, none stale."""

import gc
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import ddpm_lite as dl
from ddpm_lite import training
from ddpm_lite.guidance import guided
from ddpm_lite.system import replay
from ddpm_lite.system.device import Device
from ddpm_lite.system.replay import CudaGraphs, DeviceLost, Replay, played
from ddpm_lite.training import TrainState
from tests.tape import Tape

IMAGES = torch.linspace(-1, 1, 32 * 64).view(32, 1, 8, 8)[torch.arange(32) * 7 % 32]
LABELS = torch.arange(32) % 2


def same(a: Tensor, b: Tensor) -> None:
    assert_close(a, b, rtol=0, atol=0)


def twice(x: Tensor | None, y: Tensor | None = None) -> tuple[Tensor | None, ...]:
    assert x is not None
    return 2 * x if y is None else 2 * x + y, x - 1


def test_a_recording_is_made_once_and_copies_go_in_and_out() -> None:
    tape = Tape()
    play = Replay(twice, tape)
    first, second = torch.randn(3, 4), torch.randn(3, 4)
    a, b = play(first, None), play(second, None)
    for found, x in ((a, first), (b, second)):  # the second has not overwritten the first
        same(found[0], 2 * x)
        same(found[1], x - 1)
    kept = first.clone()
    play(second, None)
    same(first, kept)  # the recording does not write to what it was given
    # The first is only called; once it is played to see whether it is right.
    assert (tape.recorded, tape.played) == (1, 2 + 1)


def test_another_form_is_another_recording() -> None:
    tape = Tape()
    play = Replay(twice, tape)
    x = torch.randn(2, 3, 4, 4)
    forms: list[tuple[Tensor, ...]] = [
        (x,), (x.to(memory_format=torch.channels_last),), (x[:1],), (x.double(),), (x, x),
    ]  # fmt: skip
    assert len(forms) == replay.KEPT + 1
    for i, given in enumerate(forms):
        for turn in range(3):
            same(play(*given)[0], twice(*given)[0])
            assert tape.recorded == i + (turn > 0)  # what comes once is only called
    for given in reversed(forms[1:]):  # these are kept
        same(play(*given)[0], twice(*given)[0])
    assert tape.recorded == len(forms)
    play(x + 1)  # it was used last longest ago: gone, and now forms[-1] is
    play(x + 2)
    same(play(x + 3)[0], twice(x + 3)[0])
    assert tape.recorded == len(forms) + 1
    play(*forms[1])
    assert tape.recorded == len(forms) + 1
    assert len(play.recordings) == replay.KEPT


def test_weights_may_change_and_may_move() -> None:
    tape, weight = Tape(), nn.Parameter(torch.ones(3))
    play = Replay(lambda x: (x * weight,), tape, (weight,))
    with torch.no_grad():
        for _ in range(2):
            same(play(torch.ones(3))[0], torch.ones(3))
        weight.fill_(5)
        same(play(torch.ones(3))[0], torch.full((3,), 5.0))
        assert tape.recorded == 1
        weight.data = torch.full((3,), 7.0)  # as .to(device) does
        for _ in range(2):
            same(play(torch.ones(3))[0], torch.full((3,), 7.0))
        assert tape.recorded == 2
        assert len(play.recordings) == 1  # nothing reads the old weights


def test_only_the_first_results_are_copies() -> None:
    play = Replay(twice, Tape(), copied=1)
    play(torch.ones(2))
    first = play(torch.ones(2))
    second = play(torch.zeros(2))
    same(first[0], torch.full((2,), 2.0))
    assert first[1] is second[1]


class Broken(Tape):
    def record(self, function: Any, inputs: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_what_cannot_be_recorded_is_called() -> None:
    play = Replay(twice, Broken())
    play(torch.zeros(3))  # a form that came once is forgotten too
    play(torch.zeros(2))
    with pytest.warns(UserWarning, match="without a recording of launches: operation not permitt"):
        found = play(torch.ones(2))
    same(found[0], torch.full((2,), 2.0))
    same(play(torch.zeros(2))[0], torch.zeros(2))  # and no second warning
    assert play.recordings == {}


class Stale(Tape):
    """Plays what does not follow its inputs, or is never filled."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def record(self, function: Any, inputs: Any) -> Any:
        results, play = super().record(function, inputs)
        if self.kind == "empty":
            return results, lambda: None
        play()
        for x in results:
            x.mul_(1.2)
        return results, lambda: None


@pytest.mark.parametrize("kind", ["empty", "off"])
def test_what_says_something_else_than_a_call_is_not_used(kind: str) -> None:
    play = Replay(twice, Stale(kind))
    play(torch.zeros(2))
    with pytest.warns(UserWarning, match="what was recorded differs from what is called"):
        found = play(torch.ones(2))
    same(found[0], torch.full((2,), 2.0))
    same(play(torch.zeros(2))[0], torch.zeros(2))
    assert play.recordings == {}


class Other(Tape):
    """Records another function than it is given."""

    def __init__(self, other: Any):
        super().__init__()
        self.other = other

    def record(self, function: Any, inputs: Any) -> Any:
        return super().record(self.other, inputs)


WRONG: dict[str, Any] = {
    "a sign": lambda x: (100 * x, -x),
    "nothing": lambda x: (100 * x, 0 * x),
    "none": lambda x: (100 * x, None),
    "a shape": lambda x: (100 * x, x[None]),
    "a type": lambda x: (100 * x, x.double()),
}


@pytest.mark.parametrize("kind", WRONG)
def test_one_wrong_result_among_larger_ones_is_found(kind: str) -> None:
    """As the gradients of a network beside those of its last layer."""
    play = Replay(lambda x: (100 * x, x), Other(WRONG[kind]))
    play(torch.ones(2))
    with pytest.warns(UserWarning, match="what was recorded differs from what is called"):
        same(play(torch.ones(2))[1], torch.ones(2))


def test_rounding_alone_is_no_difference() -> None:
    """A gradient that is zero in exact numbers has any sign in floating point."""
    play = Replay(lambda x: (x, 1e-8 * x), Other(lambda x: (x, -1e-8 * x)))
    for _ in range(2):
        play(torch.ones(2))
    assert play.works


def test_what_overflows_proves_nothing_yet() -> None:
    """As the first steps of a scaled loss do: the recording is held against the next call too."""
    play = Replay(lambda x: (x * 1e30,), Other(lambda x: (-7 * x * 1e30,)))
    for _ in range(2):
        play(torch.full((2,), 1e30))
    assert play.works
    with pytest.warns(UserWarning, match="what was recorded differs from what is called"):
        same(play(torch.ones(2))[0], torch.full((2,), 1e30))


def test_a_function_that_adds_to_what_it_has_left_is_not_played() -> None:
    """As a backward pass does: a call for comparison must not lie where it was recorded."""
    left: list[Tensor] = []

    def adds(x: Tensor) -> tuple[Tensor]:
        if left:
            left[0] += x
        else:
            left.append(x + 0)
        return (left[0],)

    play = Replay(adds, Tape())
    play(torch.ones(2))
    left.clear()
    with pytest.warns(UserWarning, match="what was recorded differs from what is called"):
        play(torch.ones(2))


def test_random_numbers_are_the_same_in_both_and_not_used_up() -> None:
    play = Replay(lambda x: (x + torch.randn(2),), Tape())
    for _ in range(3):
        torch.manual_seed(0)
        found = play(torch.zeros(2))[0]
        torch.manual_seed(0)
        same(found, torch.randn(2))


def test_overflow_is_the_same_in_both() -> None:
    play = Replay(lambda x: (x.square() * 1e30, x), Tape())
    for _ in range(2):
        found = play(torch.full((2,), 1e10))
        assert found[0].isinf().all()
        same(found[1], torch.full((2,), 1e10))
    assert play.works


def test_a_mistake_in_the_inputs_is_told_and_forgotten() -> None:
    def picky(x: Tensor) -> tuple[Tensor]:
        if len(x) == 3:
            raise ValueError("not three")
        return (x + 1,)

    play = Replay(picky, Tape())
    for _ in range(2):
        same(play(torch.zeros(2))[0], torch.ones(2))
        with pytest.raises(ValueError, match="not three"):
            play(torch.zeros(3))
    same(play(torch.zeros(2))[0], torch.ones(2))
    assert play.works


def test_what_asks_its_inputs_what_to_do_is_found_out() -> None:
    """A recording goes on as the first call went; a GPU refuses to make one."""

    def asks(x: Tensor) -> tuple[Tensor]:
        return (x + 1 if x.sum() > 0 else x,)

    play = Replay(asks, Tape())
    for _ in range(2):
        play(torch.ones(2))
    same(play(-torch.ones(2))[0], torch.zeros(2))  # and not -1
    play = Replay(asks, Tape(torch.device("cuda")))
    play(torch.ones(2))
    with pytest.warns(UserWarning, match="without a recording of launches"):
        play(torch.ones(2))
    same(play(-torch.ones(2))[0], -torch.ones(2))


def test_threads_take_turns() -> None:
    """Each gets what is its own, though all of them play in the same memory."""

    class Slow(Tape):
        def record(self, function: Any, inputs: Any) -> Any:
            results, play = super().record(function, inputs)

            def slowly() -> None:
                play()
                time.sleep(0.002)

            return results, slowly

    play = Replay(twice, Slow())
    given = [torch.full((2,), float(i)) for i in range(24)]
    for x in given[:2]:
        play(x)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: play(x)[0], given))
    for x, own in zip(given, found, strict=True):
        same(own, 2 * x)


class Captures:
    """Torch's own part in a recording, without a GPU: capturing fails, and leaves its stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, generator_works: bool):
        self.current, self.works = "here", generator_works
        fakes: dict[str, Any] = {
            "device": lambda device: nullcontext(),
            "current_stream": lambda: self.stream("here"),
            "Stream": lambda: self.stream("aside"),
            "stream": lambda stream: nullcontext(),
            "CUDAGraph": lambda: None,
            "graph": self.graph,
            "set_stream": lambda stream: setattr(self, "current", stream.name),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
        monkeypatch.setattr(torch, "randn", self.randn)

    @staticmethod
    def stream(name: str) -> Any:
        return SimpleNamespace(name=name, wait_stream=lambda other: None)

    @contextmanager
    def graph(self, graph: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.current = stream.name
        yield
        raise RuntimeError("capture failed")

    def randn(self, *size: int, device: Any) -> None:
        if not self.works:
            raise RuntimeError("Offset increment outside graph capture")


@pytest.mark.parametrize("works", [True, False])
def test_a_failed_recording_is_cleared_away(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Captures(monkeypatch, works)
    play = Replay(lambda x: (x,), CudaGraphs(torch.device("cuda", 0)))
    play(torch.ones(2))
    if works:
        with pytest.warns(UserWarning, match="without a recording of launches: capture failed"):
            same(play(torch.ones(2))[0], torch.ones(2))
    else:
        with pytest.raises(DeviceLost, match="without DDPM_LITE_REPLAY; capture failed"):
            play(torch.ones(2))
    assert left.current == "here"


def test_a_recording_of_inference_mode_serves_outside_it() -> None:
    play = Replay(lambda x: (x + 1,), Tape())
    with torch.inference_mode():
        for _ in range(2):  # the second is recorded
            play(torch.zeros(2))
    with torch.no_grad():
        same(play(torch.ones(2))[0], torch.full((2,), 2.0))


def test_gradients_are_recorded_only_where_they_are_on() -> None:
    weight, seen = nn.Parameter(torch.ones(1)), []

    def looks(x: Tensor) -> tuple[Tensor]:
        seen.append((x * weight).requires_grad)
        return (x,)

    for mode in (torch.no_grad(), torch.enable_grad(), torch.inference_mode()):
        with mode:
            play = Replay(looks, Tape())
            for _ in range(2):
                play(torch.ones(1))
    calls = len(seen) // 3
    assert seen == [False] * calls + [True] * calls + [False] * calls


# Sampling.


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tape]]:
    """As if the CPU could record: every recorder that is made."""
    made: list[Tape] = []

    def new(device: Any) -> Tape:
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr(replay, "CudaGraphs", new)
    monkeypatch.setattr(training, "CudaGraphs", new)
    monkeypatch.setattr(replay, "records", lambda device, wanted: True)
    monkeypatch.setattr(training, "records", lambda device, wanted: wanted and device.type == "cpu")
    yield made
    replay._recordings.clear()


def network(**settings: Any) -> dl.UNet:
    torch.manual_seed(0)
    made = dl.UNet(size=8, width=8, mults=(1,), blocks=1, **settings).eval()
    for p in made.parameters():
        nn.init.normal_(p, std=0.2)
    return made


CHAINS = {
    "ddpm": (dl.ddpm, {}, {}),
    "ddpm, not clipped": (dl.ddpm, {"clip": False}, {}),
    "ddim": (dl.ddim, {"steps": 3, "eta": 0.5}, {}),
    "self-conditioned": (dl.ddpm, {}, {"self_condition": True}),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_is_the_same_chain(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, options, extra = CHAINS[kind]
    net, diffusion = network(**extra), dl.GaussianDiffusion(dl.linear_schedule(5), **extra)
    ends = []
    for tape in (None, Tape()):
        if tape is not None:
            monkeypatch.setattr(replay, "CudaGraphs", lambda device, tape=tape: tape)
            monkeypatch.setattr(replay, "records", lambda device, wanted: True)
        torch.manual_seed(1)
        steps = list(sampler(diffusion, net, (2, 1, 8, 8), **options))  # all of them kept
        ends.append(torch.stack([torch.stack(step[1:]) for step in steps]))
    replay._recordings.clear()
    same(ends[0], ends[1])
    assert tape is not None
    # The first of a form is only called; a recording is played once more, to see if it is right.
    assert tape.played == len(steps) - (1 if extra else 0)
    assert tape.recorded == 1  # without a first guess, which comes once, there is none


def test_chains_share_a_recording_and_guidance_has_one(tapes: list[Tape]) -> None:
    diffusion = dl.GaussianDiffusion(dl.linear_schedule(4))
    net = network()
    for _ in range(3):
        dl.sample(diffusion, net, (2, 1, 8, 8))
    assert [(t.recorded, t.played) for t in tapes] == [(1, 12)]
    net, ends = network(classes=3), []
    for wanted in (True, False):
        model = guided(net if wanted else Plain(net), torch.tensor([0, 1]), 2.0)
        torch.manual_seed(1)
        ends.append(dl.sample(diffusion, model, (2, 1, 8, 8)))
    same(ends[0], ends[1])
    assert [(t.recorded, t.played) for t in tapes] == [(1, 12), (1, 4)]


class Plain(nn.Module):
    """A network that does not say that it can be recorded."""

    def __init__(self, inside: dl.UNet):
        super().__init__()
        self.inside, self.classes = inside, inside.classes

    def forward(self, *given: Any, **named: Any) -> Tensor:
        return self.inside(*given, **named)


def test_who_is_played(tapes: list[Tape]) -> None:
    net = network()
    average = TrainState(net, dl.TrainConfig()).ema
    assert played(net) is not net
    assert played(average).network is average.module
    for other in (Plain(net), lambda xt, t: xt):
        assert played(other) is other
    hook = net.middle_out.register_forward_hook(lambda *_: None)
    assert played(net) is net  # a hook would be silent
    hook.remove()
    hook = net.middle_out.register_forward_pre_hook(lambda *_: None)
    assert played(net) is net
    hook.remove()
    assert played(net) is not net


def test_none_is_played_on_this_device() -> None:
    net = network()
    assert played(net) is net


def test_when_it_is_only_called(tapes: list[Tape]) -> None:
    net = network()
    model, given = played(net), (IMAGES[:2], torch.tensor([1, 2]))
    model(*given)
    assert tapes == [] or tapes[0].played == 0  # gradients are on
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            model(*given)
        net.train()
        model(*given)
        net.eval()
        for _ in range(2):  # the second would be recorded
            with pytest.raises(RuntimeError, match="meta"):
                model(given[0].to("meta"), given[1])
        assert tapes[0].played == 0
        same(model(*given), net(*given))
        same(model(*given), net(*given))
        same(model(given[0].double(), given[1]), net(*given))
        assert tapes[0].played == 3
        net.double()
        same(played(net)(*given), net(given[0].double(), given[1]))


def test_weights_that_take_the_place_of_others_are_recorded_anew(tapes: list[Tape]) -> None:
    net, given = network(), (IMAGES[:2], torch.tensor([1, 2]))
    with torch.no_grad():
        for _ in range(2):
            same(played(net)(*given), net(*given))
        net.load_state_dict({k: 2 * v for k, v in net.state_dict().items()}, assign=True)
        for _ in range(2):
            same(played(net)(*given), net(*given))
    assert [tape.recorded for tape in tapes] == [1, 1]


def test_a_network_is_let_go(tapes: list[Tape]) -> None:
    net = network()
    with torch.no_grad():
        played(net)(IMAGES[:2], torch.tensor([1, 2]))
    there = weakref.ref(net)
    del net
    gc.collect()
    assert there() is None
    assert len(replay._recordings) == 0


# Training.

RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    # settings, of network and diffusion, recordings
    "plain": ({}, {}, 1),
    "dropout": ({}, {"dropout": 0.3}, 1),
    "parts": ({"accumulate": 2, "flip": True}, {}, 1),
    "weighted": ({"weight": "min_snr"}, {}, 1),
    "labels": ({"drop_label": 0.3}, {"classes": 3}, 1),
    "self-conditioned": ({}, {"self_condition": True}, 2),
    "bfloat16": ({"precision": "bfloat16"}, {}, 1),
    "channels last": ({"channels_last": True}, {}, 1),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_is_the_same_run(kind: str, tapes: list[Tape]) -> None:
    settings, extra, recordings = RUNS[kind]
    conditions = {k: v for k, v in extra.items() if k == "self_condition"}
    diffusion = dl.GaussianDiffusion(dl.linear_schedule(10), **conditions)
    labels = LABELS if "classes" in extra else None
    ends = []
    for wanted in (False, True):
        config = dl.TrainConfig(steps=8, batch=8, warmup=2, replay=wanted, **settings)
        net = network(**extra)
        steps = list(dl.train(net, diffusion, IMAGES, config, labels=labels))
        ends.append((torch.stack([s.loss for s in steps]), steps[-1].state.state_dict()))
    same(ends[0][0], ends[1][0])
    for name in ("model", "ema", "optimizer"):
        assert_close(ends[0][1][name], ends[1][1][name], rtol=0, atol=0)
    assert sum(tape.played for tape in tapes) == 8
    assert sum(tape.recorded for tape in tapes) == recordings


def test_a_run_goes_on_with_a_recording(tapes: list[Tape]) -> None:
    diffusion, ends = dl.GaussianDiffusion(dl.linear_schedule(10)), []
    for stop in (6, 3):
        state = None
        net = network(dropout=0.2)
        config = dl.TrainConfig(steps=6, batch=8, warmup=2, replay=True)
        *_, last = dl.train(net, diffusion, IMAGES, replace(config, steps=stop))
        if stop < 6:
            kept = last.state.state_dict()
            state = TrainState(network(dropout=0.2), config)
            state.load_state_dict(kept)
            *_, last = dl.train(state.model, diffusion, IMAGES, config, state)
        ends.append(last)
    same(ends[0].loss, ends[1].loss)


def test_where_steps_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Device("cuda")
    on, off, compiled = (dl.TrainConfig(**how) for how in ({"replay": True}, {}, {"compile": True}))
    assert training._is_replayed(gpu, on)
    assert not training._is_replayed(gpu, off)
    assert not training._is_replayed(gpu, compiled)
    assert training._is_replayed(gpu, replace(compiled, replay=True))
    assert not training._is_replayed(Device("cpu"), off)
    diffusion, wanted = dl.GaussianDiffusion(dl.linear_schedule(5)), replace(on, replay=True)
    with pytest.raises(ValueError, match="replay needs one process and a CUDA device, got cpu"):
        dl.train(network(), diffusion, IMAGES, wanted)
    monkeypatch.setattr(training, "world", lambda: 2)
    assert not training._is_replayed(gpu, off)
    with pytest.raises(ValueError, match="replay needs one process"):
        training._is_replayed(gpu, replace(on, replay=True))
