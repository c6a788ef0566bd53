"""MobileSAM's and LiteMedSAM's encoder against timm's TinyViT blocks, and their checkpoints' layout."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from promptseg.errors import ModelError  # noqa: E402
from promptseg.models.networks import architectures  # noqa: E402
from promptseg.models.networks.tiny_vit import TinyViT, TinyVitShape  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = {"widths": (16, 32, 40, 80), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 4)}


def randomised(module):
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if "var" in name:
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.normal_(std=1.0 if value.ndim < 2 else 1.5 / value[0].numel() ** 0.5)
    return module.eval()


@pytest.fixture
def timm_blocks(segment_anything):
    return pytest.importorskip("timm.models.tiny_vit", reason="timm is not installed")


def like_timm(part):
    return {key.replace(".c.", ".conv.").replace("index", "unused"): value for key, value in part.state_dict().items()}


@pytest.mark.parametrize("strided", [True, False], ids=["MobileSAM", "LiteMedSAM"])
@pytest.mark.parametrize("edge", [128, 96])
def test_every_block_equals_timm_s(timm_blocks, strided, edge):
    torch.manual_seed(5)
    ours = randomised(TinyViT(TinyVitShape(128, strided_start=strided, **SMALL)))
    x = torch.randn(2, 3, edge, edge) if strided else torch.randn(2, 3, edge // 4, edge // 4)
    gelu = torch.nn.GELU
    with torch.no_grad():
        expected = x
        if strided:
            start = timm_blocks.PatchEmbed(3, 16, gelu).eval()
            names = {"seq.0": "conv1", "seq.2": "conv2"}
            start.load_state_dict(
                {key.replace(key[:5], names[key[:5]]): v for key, v in like_timm(ours.patch_embed).items()}
            )
            expected = start(expected)
        else:
            expected = ours.patch_embed(expected)
        assert torch.allclose(ours.patch_embed(x), expected, atol=1e-5)
        for index, stage in enumerate(ours.layers):
            for block in stage.blocks:
                if index == 0:
                    twin = timm_blocks.MBConv(16, 16, 4.0, gelu, 0.0).eval()
                    twin.load_state_dict(like_timm(block))
                    expected = twin(expected)
                else:
                    window = (7, 7, 14, 7)[index]
                    twin = timm_blocks.TinyVitBlock(SMALL["widths"][index], SMALL["heads"][index], window).eval()
                    twin.load_state_dict({k: v for k, v in like_timm(block).items() if k in twin.state_dict()})
                    expected = twin(expected.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            if index < 3:
                merging = timm_blocks.PatchMerging(SMALL["widths"][index], SMALL["widths"][index + 1], gelu).eval()
                if index == 2:  # here SAM's variants keep the resolution
                    merging.conv2.conv.stride = (1, 1)
                merging.load_state_dict(like_timm(stage.downsample))
                expected = merging(expected)
        expected = ours.neck(expected)
        made = ours(x)
    assert made.shape == (2, 256, edge // 16, edge // 16)
    assert made.abs().max() > 0.1
    assert (made - expected).abs().max() < 1e-3


def test_a_checkpoint_with_its_classifier_is_taken_and_the_other_variant_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(architectures.ARCHITECTURES, "vit_t", TinyVitShape(128, **SMALL))
    monkeypatch.setitem(architectures.ARCHITECTURES, "vit_t_256", TinyVitShape(32, strided_start=False, **SMALL))
    network = architectures.build_network("vit_t")
    state = network.state()
    state["image_encoder.norm_head.weight"] = torch.ones(80)
    state["image_encoder.head.weight"] = torch.ones(1000, 80)
    torch.save(state, tmp_path / "mobile.pt")
    loaded = architectures.load_network("vit_t", tmp_path / "mobile.pt")
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(loaded.encoder(x), network.encoder(x))
    with pytest.raises(ModelError, match=r"expected the weights of vit_t_256 .* looks like SAM with TinyViT \(vit_t\)"):
        architectures.load_network("vit_t_256", tmp_path / "mobile.pt")


def test_real_sizes_have_the_published_counts():
    """Parameters of the encoders without classifier: MobileSAM says 5 M (README), SAM ViT-B 89.7 M (paper, table 6)."""
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in architectures.build_network(name).encoder.parameters()) / 1e6
            for name in ("vit_t", "vit_t_256", "vit_b", "vit_b_adapter", "vit_l", "vit_h")
        }
        decoder = architectures.build_network("vit_b").decoder
    assert counts["vit_t"] == pytest.approx(5.74, abs=0.05)  # 5.07 M and the neck
    assert counts["vit_t_256"] == pytest.approx(counts["vit_t"], abs=0.1)
    assert counts["vit_b"] == pytest.approx(89.7, abs=0.1)
    assert counts["vit_l"] == pytest.approx(308.3, abs=0.1)
    assert counts["vit_h"] == pytest.approx(637.0, abs=0.1)
    assert counts["vit_b_adapter"] > counts["vit_b"]
    assert sum(p.numel() for p in decoder.parameters()) / 1e6 == pytest.approx(4.06, abs=0.02)


def test_sam_med2d_s_adapter_sits_beside_the_mlp():
    from promptseg.models.networks.vit import Adapter, Block, VitShape

    shape = VitShape(32, 1, 2, (0,), 128, adapter=True)
    block = randomised(Block(shape, 0))
    assert {k: tuple(v.shape) for k, v in block.Adapter.state_dict().items()} == {
        "norm.weight": (32,),
        "norm.bias": (32,),
        "channel.0.weight": (8, 32),
        "channel.2.weight": (32, 8),
        "spatial.0.weight": (32, 32, 3, 3),
        "spatial.2.weight": (32, 32, 4, 4),
    }
    x = torch.randn(1, 6 * 8, 32)
    with torch.no_grad():
        after_attention = x + block.attn(block.norm1(x), (6, 8))
        normed = block.norm2(after_attention)
        beside = block.Adapter(normed.view(1, 6, 8, 32)).view(1, 48, 32)
        assert torch.allclose(block(x, (6, 8)), after_attention + block.mlp(normed) + beside, atol=1e-5)
        x = torch.randn(1, 8, 8, 32)
        adapter = Adapter(32).eval()
        adapter.spatial[2].weight.zero_()  # the bottleneck says nothing: what is left is its norm
        assert torch.allclose(adapter(x), torch.nn.functional.layer_norm(x, (32,)), atol=1e-5)
