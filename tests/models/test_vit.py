"""SAM's attention: the fused form is the written-out one, and never writes its scores down."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from promptseg.models.networks import vit  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def attention():
    torch.manual_seed(0)
    made = vit.Attention(36, 3, 32, 0).eval()  # 12 channels a head
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


@pytest.mark.parametrize("grid", [(32, 32), (32, 20), (7, 32)], ids=["square", "trimmed columns", "trimmed rows"])
def test_positions_as_channels_give_what_a_matrix_of_positions_gives(attention, grid, monkeypatch):
    tokens = torch.randn(2, grid[0] * grid[1], 36)
    fused = attention(tokens, grid)
    monkeypatch.setattr(vit, "_attend_fused", lambda *given: vit._attend_written_out(*given, by_head=False))
    assert torch.allclose(fused, attention(tokens, grid), atol=1e-5)
    assert fused.std() > 0.1


def test_no_matrix_of_scores_is_written(attention):
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
            self.numbers = max(self.numbers, *sizes, 0)
            return made

    with Largest() as largest:
        attention(torch.randn(1, 32 * 32, 36), (32, 32))
    assert 0 < largest.numbers < 3 * (32 * 32) ** 2 / 4
