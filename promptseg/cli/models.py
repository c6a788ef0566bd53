"""``promptseg models ...`` and ``promptseg cache ...``: weights, exports and embeddings on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.groups import explained
from promptseg.cli.options import DeviceName
from promptseg.cli.terminal import mode, note, tell, wrote
from promptseg.errors import ModelError

if TYPE_CHECKING:
    from promptseg.models.weights.registry import ModelCard
    from promptseg.models.weights.store import Store

__all__ = ["cache_app", "models_app"]

models_app = typer.Typer(help="Models that a user can name.", no_args_is_help=True)
cache_app = typer.Typer(
    help="What is kept to save time: embeddings of slices, optimised networks.", no_args_is_help=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="See `promptseg models list`.")]
Trust = Annotated[bool, typer.Option("--trust-on-first-use", help="Pin what comes now where nobody published a hash.")]


def _store() -> Store:
    from promptseg.models.weights.store import Store

    return Store()


def _state(card: ModelCard, store: Store) -> str:
    if not card.files:
        return "built in" if card.dimensions == 2 else "own package"
    return "here" if store.is_here(card) else "-"


@explained(models_app, "promptseg models list", "promptseg models list --json", name="list")
def models_list(
    markdown: Annotated[bool, typer.Option("--markdown", help="The README's table of the package's models.")] = False,
) -> None:
    """List the models that can be named with --model."""
    from promptseg.models.table import markdown_table
    from promptseg.models.weights.registry import model_cards

    cards = model_cards().values()
    if markdown:
        typer.echo(markdown_table(card for card in cards if not card.user), nl=False)
        return
    store = _store()
    if mode().as_json:
        tell([], [{**_facts(card), "state": _state(card, store)} for card in cards])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "weights", "what it is", "prompts", "licence", box=None, header_style="bold", pad_edge=False)
    for card in cards:
        table.add_row(card.id, _state(card, store), card.title, ", ".join(card.prompts), card.licence)
    Console().print(table)


def _facts(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "title": card.title,
        "family": card.family,
        "dimensions": card.dimensions,
        "prompts": card.prompts,
        "licence": card.licence,
        "commercial_use": card.commercial_use,
        "source": card.source,
    }


@explained(models_app, "promptseg models show builtin", name="show")
def models_show(model_id: Id) -> None:
    """Print a model's card, and what of it is on this machine."""
    from promptseg.models.weights.registry import model_card

    card, store = model_card(model_id), _store()
    use = "commercial use allowed" if card.commercial_use else "no commercial use"
    lines = [
        f"{card.id}: {card.title}\nfamily {card.family}, {card.dimensions}D; licence {card.licence} ({use})",
        f"source: {card.source}\n\n{card.text.strip()}",
    ]
    files = {}
    for file in card.files:
        path = store.path(card.id, file)
        pin = store.trust.pinned(card.id, file.name)
        checked = f"checked by {pin.checked_by} on {pin.date}" if pin is not None else "not checked yet"
        files[str(path)] = checked if path.is_file() else "not on this machine"
        lines.append(f"\n{path}: {files[str(path)]}")
    tell(lines, {**_facts(card), "card": card.text.strip(), "files": files})


@contextmanager
def _progress(model_id: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (f"{model_id} ", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal or mode().quiet) as progress:
        task = progress.add_task(model_id, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


@explained(
    models_app,
    "promptseg models pull sam2.1-tiny",
    "promptseg models pull totalsegmentator:total_fast",
    "promptseg models pull medsam-vit-b --trust-on-first-use",
    name="pull",
)
def models_pull(
    model_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="See `promptseg models list`; or totalsegmentator:TASK.")
    ],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You read and accept a licence that restricts use.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Download weights, checked by their published hash; goes on where it was interrupted."""
    from promptseg.models.weights.registry import model_card

    store = _store()
    files: list[str] = []
    for model_id in model_ids:
        if model_id.startswith("totalsegmentator:"):
            from promptseg.wholebody.pull import pull_totalsegmentator

            with _progress(model_id) as on_bytes:
                folders = pull_totalsegmentator(model_id, store, trust_on_first_use=trust, on_bytes=on_bytes)
            files += wrote(folders)
            continue
        card = model_card(model_id)
        with _progress(model_id) as on_bytes:
            found = store.pull(card, accept_licence=accept_licence, trust_on_first_use=trust, on_bytes=on_bytes)
        files += wrote(found.values())
        if not found:
            note(f"{model_id} needs no download: {'it is built in' if card.dimensions == 2 else card.advice}")
        elif "checkpoint" in found:
            note(f"for a CPU, once: promptseg models export {model_id}")
    tell(files, {"files": files})


@explained(models_app, "promptseg models add my-medsam --checkpoint medsam_vit_b.pth --preprocess medsam", name="add")
def models_add(
    model_id: Annotated[str, typer.Argument(metavar="ID", help="A new id of your choice.")],
    checkpoint: Annotated[Path, typer.Option(help=".pth, .pt, .safetensors, or the encoder of an .onnx pair.")],
    decoder: Annotated[Path | None, typer.Option(help="The pair's decoder.")] = None,
    family: Annotated[str, typer.Option(help="sam or sam2.")] = "sam",
    arch: Annotated[str, typer.Option(help="vit_b, vit_l, vit_h, vit_t, hiera_tiny, ...")] = "",
    preprocess: Annotated[str, typer.Option(help="sam, medsam, lite-medsam, sam-med2d, sam2 or as-is.")] = "",
    score: Annotated[
        str, typer.Option(help="iou: the model's own estimate; stability: computed, where that is untrained (MedSAM).")
    ] = "",
    input_px: Annotated[
        int, typer.Option(min=0, help="Edge of the network's input; the architecture's own when 0.")
    ] = 0,
    title: Annotated[str, typer.Option(help="One line for the list.")] = "",
    licence: Annotated[str, typer.Option(help="For the list.")] = "not stated",
) -> None:
    """Add your own fine-tune; from then on its id works everywhere."""
    from promptseg.models.own_models import OwnModel, add_model

    own = OwnModel(
        model_id,
        checkpoint,
        decoder=decoder,
        family=family,
        arch=arch,
        preprocess=preprocess,
        score=score,
        input_px=input_px,
        title=title,
        licence=licence,
    )
    card = add_model(own, _store())
    line = f"{card.id}: {card.family} {card.arch}, {card.input_px} px, preprocessing {card.preprocess}"
    tell([line], _facts(card))


@explained(models_app, "promptseg models rm my-medsam", name="rm")
def models_rm(model_id: Id) -> None:
    """Delete a model's weights and exports from this machine; a model of your own goes from the list as well."""
    from promptseg.models.table import size_text
    from promptseg.models.weights.registry import model_card

    freed = _store().remove(model_card(model_id))
    tell([f"freed {size_text(freed)}" if freed else "nothing was there"], {"freed_bytes": freed})


@explained(models_app, "promptseg models verify", name="verify")
def models_verify(
    model_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="All that are here when none.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Read the weights' whole content and compare it with the published or pinned hashes."""
    from promptseg.models.weights.registry import model_card, model_cards

    store = _store()
    cards = [model_card(i) for i in model_ids] if model_ids else [c for c in model_cards().values() if store.is_here(c)]
    found = [(card.id, finding) for card in cards for finding in store.verify(card, trust_on_first_use=trust)]
    lines = [f"{finding.state:8} {model_id}/{finding.name}: {finding.text}" for model_id, finding in found]
    nothing = ["nothing to verify: of these models no file is on this machine"]
    lines = lines if any(card.files for card in cards) else nothing
    tell(lines, [{"id": model_id, **vars(finding)} for model_id, finding in found])
    bad = [f"{model_id}/{finding.name}" for model_id, finding in found if finding.state != "ok"]
    if bad:
        raise ModelError(f"{len(bad)} file(s) are not as they should be: {', '.join(bad)}")


@explained(
    models_app,
    "promptseg models import weights.tar",
    "promptseg models import medsam_vit_b.pth --as medsam-vit-b --trust-on-first-use",
    name="import",
)
def models_import(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="A file, a folder, or a .tar, .tar.gz or .zip.")],
    model_id: Annotated[str | None, typer.Option("--as", help="The model that a single file belongs to.")] = None,
    trust: Trust = False,
) -> None:
    """Take weights that a person brought, without a network."""
    from promptseg.models.transfer import import_weights

    names = list(import_weights(source, _store(), model_id=model_id, trust_on_first_use=trust))
    tell(names, {"imported": names})


@explained(models_app, "promptseg models pack sam2.1-tiny -o weights.tar", name="pack")
def models_pack(
    model_ids: Annotated[list[str], typer.Argument(metavar="ID...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new .tar file.")],
) -> None:
    """Write weights and exports into one archive for `promptseg models import` on another machine."""
    from promptseg.io.outputs import require_output
    from promptseg.models.table import size_text
    from promptseg.models.transfer import pack_weights

    output = require_output(output)
    size = pack_weights(model_ids, output, _store())
    tell([f"{output}: {size_text(size)}"], {"files": wrote([output]), "bytes": size})


@explained(models_app, "promptseg models export sam2.1-tiny", name="export")
def models_export(
    model_id: Id,
    runtime: Annotated[str, typer.Option(help="onnx.")] = "onnx",
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 (for a GPU) or int8 (faster on a CPU, less exact).")
    ] = "fp32",
) -> None:
    """Write an ONNX pair into the model's folder and measure it against torch; used from then on."""
    from promptseg.models.loading import export_model
    from promptseg.models.table import size_text

    if runtime != "onnx":
        raise typer.BadParameter(f"expected onnx, got {runtime!r}", param_hint="--runtime")
    report = export_model(model_id, precision)
    lines = [
        f"{report.model_id} as ONNX in {report.precision}, {size_text(report.bytes)}; against torch in fp32, "
        f"where the largest logit is {report.logits_scale:.3g} and one slice takes {report.embed_s_torch:.2f} s:"
    ]
    for runtime, figures in (("ONNX Runtime", vars(report)), ("OpenVINO", report.openvino)):
        if figures:
            lines.append(
                f"{runtime}: logits differ by {figures['logits_max_abs']:.2g}, "
                f"masks overlap {figures['mask_iou']:.4f}, scores differ by {figures['score_max_abs']:.2g}; "
                f"one slice {figures['embed_s_onnx']:.2f} s"
            )
    tell(lines, vars(report))


@explained(models_app, "promptseg models bench builtin", name="bench")
def models_bench(
    model_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="All that are here when none.")
    ] = None,
    device: DeviceName = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Slices timed after a first one.")] = 3,
) -> None:
    """Time models on a 512 x 512 slice on this machine, each in a process of its own."""
    from promptseg.models.bench import bench_model
    from promptseg.models.weights.registry import model_card, model_cards

    store = _store()
    ids = [model_card(i).id for i in model_ids or ()] or [
        c.id for c in model_cards().values() if c.dimensions == 2 and store.is_here(c)
    ]
    speeds = {model_id: bench_model(model_id, device, repeats=repeats) for model_id in ids}
    lines = [f"{'id':22} {'load s':>7} {'slice s':>8} {'click ms':>9} {'peak MB':>8}  runs on"]
    for model_id, speed in speeds.items():
        lines.append(
            f"{model_id:22} {speed.load_s:7.2f} {speed.embed_s:8.3f} {1000 * speed.predict_s:9.1f} "
            f"{speed.peak_bytes / 1e6:8.0f}  {speed.described}"
        )
    tell(lines, {model_id: vars(speed) for model_id, speed in speeds.items()})


def _graphs(cache_dir: Path) -> list[Path]:
    """Every file of the optimised networks: ONNX Runtime's, OpenVINO's and TensorRT's."""
    return [path for path in (cache_dir / "graphs").rglob("*") if path.is_file()]


@explained(cache_app, "promptseg cache info", name="info")
def cache_info() -> None:
    """Say what is kept, where, and how large it is."""
    from promptseg.models.embedding_files import embedding_info
    from promptseg.models.settings import model_settings
    from promptseg.models.table import size_text

    settings = model_settings()
    info = embedding_info(settings.cache_dir / "embeddings")
    graphs = _graphs(settings.cache_dir)
    limit = size_text(settings.embedding_disk_bytes) if settings.embedding_disk_bytes else "off"
    held = sum(p.stat().st_size for p in graphs)
    lines = [
        f"{info.folder}: {info.count} embeddings, {size_text(info.nbytes) if info.nbytes else '0 B'}; limit {limit}",
        f"{settings.cache_dir / 'graphs'}: optimised networks in {len(graphs)} files, "
        f"{size_text(held) if held else '0 B'}",
    ]
    facts = {"count": info.count, "bytes": info.nbytes, "limit_bytes": settings.embedding_disk_bytes}
    tell(lines, {"embeddings": facts, "networks": {"count": len(graphs), "bytes": held}})


@explained(cache_app, "promptseg cache clear", name="clear")
def cache_clear() -> None:
    """Delete embeddings and optimised networks; they are made again when needed."""
    import shutil

    from promptseg.models.embedding_files import clear_embeddings
    from promptseg.models.settings import model_settings
    from promptseg.models.table import size_text

    settings = model_settings()
    freed = clear_embeddings(settings.cache_dir / "embeddings").nbytes
    freed += sum(path.stat().st_size for path in _graphs(settings.cache_dir))
    shutil.rmtree(settings.cache_dir / "graphs", ignore_errors=True)
    tell([f"freed {size_text(freed)}" if freed else "nothing was there"], {"freed_bytes": freed})
