"""The cells that do something else on a GPU, run here as they would run there.

    python tests/rehearsal.py           lists every branch, and what runs it
    python tests/rehearsal.py [NN]      rehearses a chapter

A chapter asks for a GPU by `device` and for work that needs one by `BUDGET`; a condition on either
is a branch. A rehearsal runs the cells with branches, and those that they build on, by the same
source, with the GPU of `tests.pretend`, the sets of the hub as parquet files in the hub's schema,
borrowed weights as diffusers writes them, and a small stand-in for Inception. `CHAPTERS` says what
is written otherwise: the budget, and what no CPU does in a moment.
"""

import ast
import os
import symtable
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
SWITCHES = {"device", "BUDGET"}  # of a chapter's cells, all that a branch may hang on
BORROWED = "google/ddpm-cifar10-32"


@dataclass(frozen=True)
class Chapter:
    """How a chapter is rehearsed.

    Args:
        otherwise: what stands in a cell, and what is run in its place.
        network: whether its branch reads from the hub.
    """

    otherwise: dict[str, str] = field(default_factory=dict)
    network: bool = False


CHAPTERS = {
    "01-introduction": Chapter(
        {"steps=1000": "steps=5", "range(25, 1001, 25)": "[5]", "view(-1, 25)": "view(-1, 5)"}
    ),
    "08-simplified-loss": Chapter({"steps=250": "steps=2"}),
    "10-unet": Chapter({"BUDGET = 0": "BUDGET = 1", "128**2": "9**2"}),
    "11-training": Chapter({"log_every=100 if BUDGET": "log_every=2 if BUDGET"}, network=True),
    "12-sample-quality": Chapter({"BUDGET = 200": "BUDGET = 10_000"}, network=True),
    "13-after-ddpm": Chapter({"BUDGET = 0": "BUDGET = 2", "range(3 if": "range(1 if"}),
}
OFFLINE = [name for name, chapter in CHAPTERS.items() if not chapter.network]


@dataclass(frozen=True)
class Cell:
    """A cell of code: its name in the notebook, its source, and its branches by line."""

    id: str
    source: str
    branches: tuple[int, ...]


# What hangs on a switch.


def cells(chapter: Path) -> list[Cell]:
    """The cells of code of a chapter that run on any machine, without what IPython alone knows."""
    found, switches = [], set(SWITCHES)
    for cell in nbformat.read(chapter, as_version=4).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or {"raises-exception", "nbval-skip"} & set(tags):
            continue
        switches |= derived(ast.parse(cell.source), switches)
        found.append(Cell(cell.id, cell.source, tuple(branches(cell.source, switches))))
    return found


def derived(tree: ast.AST, switches: set[str]) -> set[str]:
    """Names that are given a comparison of switches and nothing else, such as `large`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names = _names(node.value)
            if names and names <= switches | found | {"int", "bool"} and names & switches:
                found.add(node.targets[0].id)
    return found


def branches(source: str, switches: set[str]) -> Iterator[int]:
    """The lines of conditions, comparisons and loops that hang on a switch, or on CUDA itself."""
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "test", None), getattr(node, "iter", None)):
            if isinstance(part, ast.expr) and _hangs_on(part, switches):
                yield part.lineno
        if isinstance(node, ast.Compare) and _hangs_on(node, switches):
            yield node.lineno


def _hangs_on(test: ast.expr, switches: set[str]) -> bool:
    return bool(_names(test) & switches) or "cuda" in ast.unparse(test)


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _binds(source: str) -> set[str]:
    """The names that a cell gives a meaning to."""
    return {s.get_name() for s in _symbols(source) if s.is_assigned() or s.is_imported()}


def _reads(source: str) -> set[str]:
    """The names whose meaning a cell takes from the cells before it."""
    bound, found = set[str](), set[str]()
    for statement in ast.parse(source).body:
        text = ast.unparse(statement)
        own = _binds(text)
        read = {s.get_name() for s in _symbols(text) if s.is_referenced()} | _read_within(text)
        # A loop and a block give names a meaning before they read them.
        before = own if hasattr(statement, "body") else set()
        if isinstance(statement, ast.AugAssign):
            read |= own
        found |= read - bound - before
        bound |= own
    return found


def _symbols(source: str) -> list[symtable.Symbol]:
    return symtable.symtable(source, "cell", "exec").get_symbols()


def _read_within(source: str) -> set[str]:
    """What the functions and comprehensions of a piece of source read from outside of them."""
    found, tables = set[str](), symtable.symtable(source, "cell", "exec").get_children()
    while tables:
        table = tables.pop()
        found |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
        tables += table.get_children()
    return found


def needed(all_: list[Cell]) -> list[Cell]:
    """The cells with branches, and those that give their names a meaning."""
    kept, wanted = [], set[str]()
    for cell in reversed(all_):
        if cell.branches or _binds(cell.source) & wanted:
            wanted = (wanted - _binds(cell.source)) | _reads(cell.source)
            kept.append(cell)
    return kept[::-1]


class _Witness(ast.NodeTransformer):
    """Lets every condition on a switch tell that it was come by, and what it was."""

    def __init__(self, cell: Cell):
        self.cell = cell

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for name in ("test", "iter"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr) and part.lineno in self.cell.branches:
                setattr(node, name, self._told(part))
        if isinstance(node, ast.Compare) and node.lineno in self.cell.branches:
            return self._told(node)
        return node

    def _told(self, part: ast.expr) -> ast.expr:
        place = ast.Constant(f"{self.cell.id}:{part.lineno}")
        told = ast.Call(ast.Name("_came_by", ast.Load()), [place, part], [])
        return ast.copy_location(told, part)


def perform(name: str, rehearsed: bool = True) -> dict[str, bool]:
    """Run what is needed of a chapter; each branch that was come by, and its condition there.

    Args:
        rehearsed: with a GPU that is not there; otherwise on the one that is, the budget alone
            written otherwise.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    chapter, seen = CHAPTERS[name], dict[str, bool]()

    def came_by(place: str, condition: Any) -> Any:
        seen[place] = bool(condition) if isinstance(condition, bool | int) else True
        return condition

    names: dict[str, Any] = {"_came_by": came_by, "__name__": "__main__", "display": print}
    with ExitStack() as world:
        world.callback(_let_go, names)
        if rehearsed:
            world.enter_context(small_world(chapter.network))
        else:
            world.enter_context(_apart())
        for cell in needed(cells(BOOK / f"{name}.ipynb")):
            source = cell.source
            for old, new in chapter.otherwise.items():
                if rehearsed or "BUDGET" in old:
                    source = source.replace(old, new)
            tree = ast.fix_missing_locations(_Witness(cell).visit(ast.parse(source)))
            exec(compile(tree, f"{name}, cell {cell.id}", "exec"), names)
            mpl.pyplot.close("all")  # type: ignore[attr-defined]
    return seen


def _let_go(names: dict[str, Any]) -> None:
    """Remove the folders that a chapter leaves to its kernel's end."""
    for value in names.values():
        if isinstance(value, tempfile.TemporaryDirectory):
            value.cleanup()


# The world in which a rehearsal takes place.


@contextmanager
def _apart() -> Iterator[Path]:
    """An empty folder to work in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


@contextmanager
def small_world(network: bool) -> Iterator[None]:
    """A GPU, a hub and networks, none of which is there; and no work that takes long.

    Args:
        network: with a hub; its libraries take seconds to import.
    """
    from ddpm_lite.experiments import studies
    from ddpm_lite.images import idx, sources
    from ddpm_lite.quality import inception
    from ddpm_lite.runs import many, recipes
    from tests.pretend import Gpu

    with _apart() as folder, ExitStack() as world:
        others: list[tuple[Any, str, Any]] = []
        if network:
            import huggingface_hub

            borrow(folder / BORROWED.partition("/")[2])
            others.append((huggingface_hub, "snapshot_download", _download))
        others += [
            (idx, "INSTALLED", {}),
            (sources, "_load_dataset", _hub(folder, sources)),
            (inception, "Inception", SmallInception),
            (many, "draw", _few(many.draw)),
            (recipes, "RECIPES", _shortened(recipes.RECIPES)),
            (studies, "STUDIES", _briefly(studies.STUDIES)),
            (studies, "images", _few_images(studies.images)),
            (studies, "SAMPLES", dict.fromkeys(studies.SAMPLES, 10)),
            (
                studies,
                "codelength",
                lambda *given, **how: many.codelength(*_first(given, 2), **how),
            ),
        ]
        for other in others:
            world.enter_context(mock.patch.object(*other))
        world.enter_context(Gpu())
        yield


def _few_images(images: Callable[[str], Any]) -> Callable[[str], Any]:
    """The set of a study, of which a little is left."""

    def few(data: str) -> Any:
        x = images(data)
        return x._replace(train=x.train[:100], labels=x.labels[:100], test=x.test[:10])

    return few


def _first(given: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """The arguments of `codelength` with so many images."""
    return *given[:2], given[2][:n]


def _hub(folder: Path, sources: Any) -> Callable[..., Any]:
    """Parquet files in the schema of the set that is asked for, in the place of the hub."""
    from tests.pictures import hub

    real, names = sources._load_dataset, {address: name for name, address in sources.HUB.items()}

    def load(library: Any, progress: bool, repository: str, **how: Any) -> Any:
        name = names[repository]
        root = folder / "hub" / name
        parts = hub(root, name)
        files = {split: str(root / f"{split}-*.parquet") for split in parts}
        cache = str(folder / "cache")
        return real(library, progress, "parquet", data_files=files, cache_dir=cache)

    return load


def borrow(folder: Path) -> None:
    """Weights as the hub has them: diffusers' files, with the old names in attention."""
    import torch
    from diffusers import UNet2DModel
    from safetensors.torch import save_file

    from ddpm_lite.runs.interop import CIFAR10, FILE, OLD_NAMES

    with torch.device("meta"):  # its own first weights take many seconds
        network = UNet2DModel(**CIFAR10)
    generator = torch.Generator().manual_seed(0)
    network.save_config(folder)  # type: ignore[attr-defined]
    tensors = {}
    for name, x in network.state_dict().items():
        for old, new in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        fan_in = x[0].numel() if x.ndim > 1 else 4
        tensors[name] = torch.randn(x.shape, generator=generator) / fan_in**0.5
    save_file(tensors, folder / f"{FILE}.safetensors", {"format": "pt"})


def _download(repository: str, local_dir: Any, allow_patterns: list[str]) -> str:
    assert repository == BORROWED
    assert "*.safetensors" in allow_patterns
    borrow(Path(local_dir))
    return str(local_dir)


class SmallInception(nn.Module):
    """In the place of Inception: images in, ten features out; it is where it is put."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(10, 6)
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] + self.last.bias.sum()

    def head(self, features: Tensor) -> Tensor:
        return self.last(features)


def _few(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`draw`, of a few samples in two steps, whatever is asked for."""

    def drawn(diffusion: Any, network: Any, n: int, *given: Any, **options: Any) -> Tensor:
        if "steps" in options:
            options["steps"] = 2
        if options.get("labels") is not None:
            options["labels"] = options["labels"][:6]
        return draw(diffusion, network, min(n, 6), *given, **options)

    return drawn


def _shortened(recipes: Any) -> Any:
    """A few steps of a narrow network, in every recipe."""
    short = {"steps": 4, "batch": 4, "warmup": 1}
    return {
        name: (
            about,
            replace(
                recipe,
                network=replace(recipe.network, width=8, mults=(1, 2), blocks=1, attention=()),
                training=replace(recipe.training, **short),
                every=2,
                sample_every=2,
            ),
        )
        for name, (about, recipe) in recipes.items()
    }


def _briefly(studies: Any) -> Any:
    """Two steps of training and of sampling, of a small network, in every study."""
    return {
        table: {
            name: replace(
                study,
                diffusion=replace(study.diffusion, T=4),
                network=replace(study.network, width=8, mults=(1,), blocks=1),
                training=replace(study.training, steps=2, batch=4, warmup=1),
                ways={
                    key: way._replace(steps=None if way.steps is None else 2)
                    for key, way in study.ways.items()
                },
            )
            for name, study in rows.items()
        }
        for table, rows in studies.items()
    }


def main() -> int:
    chosen = [name for name in CHAPTERS if name[:2] in sys.argv[1:]]
    for name in chosen:
        for place, condition in perform(name).items():
            print(f"{name} {place}: {condition}")
    if chosen:
        return 0
    print("| chapter | cell | lines with a branch | run by |")
    print("|---|---|---|---|")
    for path in sorted(BOOK.glob("[0-9][0-9]-*.ipynb")):
        for cell in cells(path):
            if cell.branches:
                lines = ", ".join(map(str, sorted(set(cell.branches))))
                by = f"test_rehearsal.py[{path.stem}]" if path.stem in CHAPTERS else "NOTHING"
                print(f"| {path.stem} | {cell.id} | {lines} | {by} |")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
