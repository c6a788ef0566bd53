"""A recipe is read strictly, and the same recipe gives the same weights, interrupted or not."""

from dataclasses import replace
from pathlib import Path

import pytest

from promptseg.errors import SettingsError

torch = pytest.importorskip("torch", reason="torch is only needed to train (pip install promptseg[train])")

from promptseg.models.builtin.training.__main__ import main  # noqa: E402
from promptseg.models.builtin.training.network import MEMBERS  # noqa: E402
from promptseg.models.builtin.training.onnx_file import read_weights  # noqa: E402
from promptseg.models.builtin.training.recipe import RECIPES, Recipe, read_recipe  # noqa: E402
from promptseg.models.builtin.training.train import dice_of, mask_loss, pixel_weights, train  # noqa: E402
from promptseg.models.families.builtin.views import CHANNELS  # noqa: E402

pytestmark = pytest.mark.torch

TINY = """
member = "thin"
seed = 3
processes = 1
batch = 4
decay = 0.9
block = 2

[[stage]]
name = "a"
steps = 2
rates = [1e-3, 1e-3]
sizes = { 64 = 1.0 }
world = { easy = 1.0, stacks = 0.5 }

[[stage]]
name = "b"
steps = 2
rates = [1e-3, 0.0]
sizes = { 64 = 0.5, 96 = 0.5 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.toml").write_text(TINY)
    return read_recipe(tmp_path / "recipe.toml")


def weights(checkpoint: Path) -> dict[str, "torch.Tensor"]:
    found: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["average"]
    return found


@pytest.mark.parametrize("member", MEMBERS)
def test_the_shipped_recipes_can_be_read(member: str) -> None:
    recipe = read_recipe(RECIPES[member])
    assert recipe.member == member
    assert recipe.steps == sum(stage.steps for stage in recipe.stages) > 0
    assert recipe.stages[-1].rates[1] < recipe.stages[0].rates[0] / 10
    assert all(size % 32 == 0 for stage in recipe.stages for size in stage.sizes)


def test_stages_follow_each_other(recipe: Recipe) -> None:
    assert [recipe.at(step)[0].name for step in range(5)] == ["a", "a", "b", "b", "b"]
    assert [recipe.at(step)[1] for step in range(5)] == [0.0, 0.5, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "broken",
    [
        TINY.replace("seed = 3\n", ""),
        TINY.replace("seed", "sead"),
        TINY.replace("steps = 2", "steps = 3"),
        TINY.replace("easy", "eazy"),
        TINY.replace("world =", "real = 0.5\nworld ="),
        "not toml",
    ],
)
def test_a_broken_recipe_is_refused(tmp_path: Path, broken: str) -> None:
    (tmp_path / "broken.toml").write_text(broken)
    with pytest.raises(SettingsError, match=r"broken\.toml"):
        read_recipe(tmp_path / "broken.toml")


def test_the_same_recipe_gives_the_same_weights_also_after_a_stop(recipe: Recipe, tmp_path: Path) -> None:
    whole = weights(train(recipe, tmp_path / "whole"))
    train(replace(recipe, stages=recipe.stages[:1]), tmp_path / "stopped")
    resumed = weights(train(recipe, tmp_path / "stopped"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    other = weights(train(replace(recipe, seed=4), tmp_path / "other"))
    assert any(not torch.equal(whole[name], other[name]) for name in whole)


def test_two_processes_step_alike(recipe: Recipe, tmp_path: Path) -> None:
    two = replace(recipe, processes=2, stages=recipe.stages[:1])
    first, again = weights(train(two, tmp_path / "a")), weights(train(two, tmp_path / "b"))
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.filterwarnings("ignore")  # the exporter's many; what it writes is compared below
def test_one_command_makes_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for member in MEMBERS:
        (tmp_path / f"{member}.toml").write_text(TINY.replace('"thin"', f'"{member}"'))
        monkeypatch.setitem(RECIPES, member, tmp_path / f"{member}.toml")
    main(["train", "--out", str(tmp_path / "run")])
    made = read_weights(tmp_path / "run" / "builtin.onnx")
    for member in MEMBERS:
        for name, weight in weights(tmp_path / "run" / member / "last.pt").items():
            torch.testing.assert_close(made[f"members.{member}.{name}"], weight, rtol=1e-3, atol=1e-6)


def test_losses_say_what_is_wrong() -> None:
    target = torch.zeros(1, 1, 32, 32)
    target[..., 8:24, 8:24] = 1
    views = torch.zeros(1, len(CHANNELS), 32, 32)
    flat = pixel_weights(views, target)
    right, wrong = (target * 2 - 1) * 8, (1 - target * 2) * 8
    assert mask_loss(right, target, flat) < 0.05 < 2 < mask_loss(wrong, target, flat)
    nothing = torch.zeros_like(target)
    assert mask_loss(right, nothing, flat) > mask_loss(torch.full_like(target, -8.0), nothing, flat) + 1
    views[:, CHANNELS.index("carried"), 4:24, 4:24] = 1
    changed = pixel_weights(views, target)
    assert changed[0, 0, 5, 5] > changed[0, 0, 16, 16]
    area = target.sum((1, 2, 3))
    assert dice_of(right, target, area) == pytest.approx(1.0)
    assert float(dice_of(right, target, 2 * area)) == pytest.approx(2 / 3, abs=0.01)
