"""Training of the 3D network: painting, people, the run itself and its file."""

import hashlib
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from promptseg.errors import ModelError, SettingsError
from promptseg.models.builtin import BUILTIN_3D_ONNX, BUILTIN_3D_SHA256

torch = pytest.importorskip("torch", reason="torch is only needed to train (pip install promptseg[train])")

from promptseg.models.builtin.training3d.anatomy import LabelMaps, read_label_maps  # noqa: E402
from promptseg.models.builtin.training3d.appearance import stretched  # noqa: E402
from promptseg.models.builtin.training3d.export import export, load_average, read_network  # noqa: E402
from promptseg.models.builtin.training3d.fields import Chance, bounds_of, connected_to, depth_inside  # noqa: E402
from promptseg.models.builtin.training3d.network import VolumeNet  # noqa: E402
from promptseg.models.builtin.training3d.people import Interaction, People, click_map, spoilt  # noqa: E402
from promptseg.models.builtin.training3d.placing import Placing, middle_slice, place_views  # noqa: E402
from promptseg.models.builtin.training3d.recipe import RECIPES, Recipe, Stage, read_recipe  # noqa: E402
from promptseg.models.builtin.training3d.scenes import Painting, Scenes, gather_scenes  # noqa: E402
from promptseg.models.builtin.training3d.train import Trainer, train, turned  # noqa: E402
from promptseg.models.families.builtin.volume_views import CHANNELS, draw_view, stretch  # noqa: E402
from promptseg.models.volume_predictor import View, ViewPrompts  # noqa: E402

pytestmark = pytest.mark.torch

SIDE = 24
WIDTHS = (8, 8, 16, 16)
EVERYTHING = Painting(anatomy=0.5, trees=0.5, placing=Placing(cut=0.3, by_box=0.4))
ALL_PEOPLE = People(scattered=0.3, wrong_known=0.5, several_known=0.5, grown=0.5)
RECIPE = Recipe(
    start="nothing",
    seed=5,
    group=1,
    groups=1,
    per_step=1,
    uses=2,
    decay=0.9,
    block=1,
    stages=(Stage("all", 2, (1e-3, 1e-4), {16: 1.0}, EVERYTHING, ALL_PEOPLE),),
    widths=WIDTHS,
)


def body():
    """A label map with three parts of two labels: two lumps apart and a plate, no axis like another."""
    labels = np.zeros((30, 44, 52), np.uint8)
    labels[4:14, 5:20, 6:30] = 1
    labels[18:27, 24:40, 8:22] = 1
    labels[10:13, 22:42, 24:50] = 2
    return labels


@pytest.fixture(scope="module")
def label_maps():
    return LabelMaps([body()])


@pytest.fixture(scope="module")
def scenes(label_maps):
    parts = [
        gather_scenes(Chance((1, int(share))), 2, SIDE, replace(EVERYTHING, anatomy=share), label_maps)
        for share in (0.0, 1.0)
    ]
    return Scenes(*(torch.cat([getattr(p, name) for p in parts]) for name in ("images", "targets")))


def test_painting_is_never_empty_and_as_the_network_sees_it(scenes):
    assert scenes.images.shape == scenes.targets.shape == (4, 1, SIDE, SIDE, SIDE)
    assert scenes.images.isfinite().all()
    assert scenes.images.abs().max() <= 1.5
    assert set(scenes.targets.unique().tolist()) == {0.0, 1.0}
    assert (scenes.targets.flatten(1).sum(1) > 1e-3 * SIDE**3).all()


def test_painting_follows_its_seed(label_maps):
    first, again, other = (
        gather_scenes(Chance(seed), 1, 16, replace(EVERYTHING, anatomy=0), label_maps) for seed in ((3,), (3,), (4,))
    )
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.images, other.images)


def test_anatomy_shows_one_connected_part(label_maps):
    labels, targets = label_maps.look(Chance((2,)), 6, 20, Placing(cut=0.3, by_box=0.4))
    assert labels.shape == targets.shape == (6, 20, 20, 20)
    assert int(labels.max()) < label_maps.greys
    assert all(len(labels[k][targets[k]].unique()) == 1 for k in range(6) if targets[k].any())


@pytest.mark.parametrize("arrays", [{}, {"a0": np.zeros((3, 3), np.uint8)}, {"a0": np.zeros((9, 9, 9), np.int64)}])
def test_a_file_without_label_maps_says_what_was_expected(tmp_path, arrays):
    np.savez(tmp_path / "maps.npz", **arrays)
    with pytest.raises(ModelError, match=r"uint8 label maps \(z, y, x\) named a0"):
        read_label_maps(tmp_path / "maps.npz")
    with pytest.raises(ModelError, match=r"nowhere\.npz"):
        read_label_maps(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "good.npz", a0=body(), comps=np.array([1, 2]))
    assert read_label_maps(tmp_path / "good.npz")


def test_a_view_holds_the_whole_object_or_is_placed_by_its_box():
    coarse = torch.zeros(3, 40, 40, 40, dtype=torch.bool)
    coarse[:, 10:30, 4:36, 16:22] = True
    coarse[:, 19:22, 18:22, 16:22] = True
    scale = torch.tensor([[20.0, 10.0, 30.0]]).expand(3, 3)
    centre, half = place_views(Chance((1,)), coarse, scale, Placing())
    low, high = torch.tensor([-10.0, -8.0, -6.0]), torch.tensor([10.0, 8.0, 3.0])
    assert (centre - half <= low + 1e-3).all()
    assert (centre + half >= high - 1e-3).all()
    centre, half = place_views(Chance((1,)), coarse, scale, Placing(by_box=1.0))
    assert ((half[:, 0] > 10) & (half[:, 0] < 14)).all()
    _, part = place_views(Chance((1,)), coarse, scale, Placing(cut=1.0))
    assert (part[:, 1] < 8).all()


def test_the_middle_slice_is_in_the_object():
    target = torch.zeros(2, 20, 4, 4, dtype=torch.bool)
    target[0, 3:6, 1], target[1, [2, 3, 15, 16, 17], 2] = True, True
    assert middle_slice(Chance((1,)), target, straying=0.0).tolist() == [4, 15]
    for seed in range(5):
        chosen = middle_slice(Chance((seed,)), target, straying=1.0)
        assert target[torch.arange(2), chosen].flatten(1).any(1).all()


def test_masks_are_measured_alike_by_erosion_and_by_distance():
    mask = torch.zeros(1, 12, 14, 16, dtype=torch.bool)
    mask[0, 2:9, 3:12, 2:14] = True
    depth = depth_inside(mask)[0]
    assert depth.max() == depth[5, 7, 8] == 4
    assert not depth[~mask[0]].any()
    mask[0, 10] = True
    seeds = torch.zeros_like(mask)
    seeds[0, 5, 5, 5] = True
    assert connected_to(mask, seeds).sum() == 7 * 9 * 12
    first, last = bounds_of(torch.tensor([[False, True, True, False], [False] * 4]))
    assert (first.tolist(), last.tolist()) == ([1, 4], [2, -1])


def test_training_draws_what_the_predictor_draws():
    voxels = np.random.default_rng(0).normal(40, 9, (SIDE, SIDE, SIDE)).astype(np.float32)
    np.testing.assert_allclose(stretched(torch.from_numpy(voxels)[None, None])[0, 0], stretch(voxels), atol=1e-3)
    click = (5, 20, 11)
    prompts = ViewPrompts(np.array([click], np.float32), np.array([True]))
    maps = draw_view(View(voxels, prompts), 0)
    drawn = click_map(torch.tensor([click]), SIDE)[0, 0]
    np.testing.assert_allclose(maps[CHANNELS.index("positive")], drawn, atol=1e-5)


def test_people_begin_in_every_way_and_click_where_the_answer_is_wrong(scenes):
    many = Scenes(scenes.images.repeat(8, 1, 1, 1, 1), scenes.targets.repeat(8, 1, 1, 1, 1))
    people = Interaction(many, Chance((4,)), ALL_PEOPLE)
    views = people.views()
    assert views.shape == (32, len(CHANNELS), SIDE, SIDE, SIDE)
    began = {name: int(views[:, k].flatten(1).any(1).sum()) for k, name in enumerate(CHANNELS)}
    assert all(began[name] > 0 for name in ("box", "range", "known", "positive", "previous"))
    assert views[:, 1:].flatten(1).any(1).all()
    missed = torch.zeros_like(many.targets)
    people.answer(missed)
    positive = people.views()[:, CHANNELS.index("positive")]
    peak = positive.flatten(1) == 1
    assert ((peak & (many.targets.flatten(1) > 0)).any(1)).all()
    people.answer(torch.ones_like(missed))
    negative = people.views()[:, CHANNELS.index("negative")]
    assert ((negative.flatten(1) == 1) & (many.targets.flatten(1) == 0)).any(1).all()


def test_wrong_masks_are_wrong_and_scenes_can_be_turned(scenes):
    wrong = spoilt(Chance((1,)), scenes.targets)
    assert set(wrong.unique().tolist()) == {0.0, 1.0}
    assert (wrong != scenes.targets).flatten(1).any(1).all()
    again = turned(Chance((1,)), scenes)
    assert torch.equal(again.targets.flatten(1).sum(1), scenes.targets.flatten(1).sum(1))
    assert not torch.equal(again.images, scenes.images)


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_run_also_after_an_interruption(tmp_path, label_maps):
    whole = torch.load(train(RECIPE, tmp_path / "whole", label_maps=label_maps), weights_only=True)
    (tmp_path / "parts").mkdir()
    stopped = Trainer(RECIPE, tmp_path / "parts", label_maps=label_maps)
    stopped._block(RECIPE.stages[0])
    stopped.save()
    resumed = torch.load(train(RECIPE, tmp_path / "parts", label_maps=label_maps), weights_only=True)
    assert whole["step"] == resumed["step"] == 2
    for key, value in whole["average"].items():
        assert torch.equal(value, resumed["average"][key]), key
    changed = Trainer(RECIPE, tmp_path, label_maps=label_maps).network.state_dict()
    assert not torch.equal(whole["network"]["stem.weight"], changed["stem.weight"])


@pytest.mark.filterwarnings("ignore")  # of the legacy exporter
def test_the_file_answers_as_the_network_and_gives_its_weights_back(tmp_path):
    torch.manual_seed(1)
    network = VolumeNet(WIDTHS).eval()
    for parameter in network.parameters():  # the exporter stores equal arrays, as the norms' of a new network, once
        parameter.data += 0.05 * torch.randn_like(parameter)
    torch.save({"average": network.state_dict()}, tmp_path / "last.pt")
    export(load_average(tmp_path / "last.pt"), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    stored = read_network(tmp_path / "net.onnx")
    view = torch.randn(2, len(CHANNELS), 48, 32, 64)
    with torch.no_grad():
        logits, quality = stored(view)
    given, score = session.run(None, {"view": view.numpy()})
    np.testing.assert_allclose(given, logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(score, torch.sigmoid(quality).numpy(), atol=1e-5)
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(stored.state_dict()[name], value, atol=2e-3)


def test_the_shipped_file_is_the_one_in_the_card():
    content = BUILTIN_3D_ONNX.read_bytes()
    assert hashlib.sha256(content).hexdigest() == BUILTIN_3D_SHA256
    assert len(content) + BUILTIN_3D_ONNX.with_name("builtin.onnx").stat().st_size <= 24_000_000


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_read(name):
    recipe = read_recipe(RECIPES[name])
    assert recipe.steps % recipe.block == 0
    assert recipe.start in ("nothing", "shipped")


def test_a_recipe_says_what_is_wrong_with_it(tmp_path):
    broken = RECIPES["first"].read_text().replace("block = 500", "block = 700")
    (tmp_path / "broken.toml").write_text(broken)
    with pytest.raises(SettingsError, match="whole blocks of 700"):
        read_recipe(tmp_path / "broken.toml")
    with pytest.raises(SettingsError, match="nothing or shipped, got 'there'"):
        Trainer(replace(RECIPE, start="there"), tmp_path)
