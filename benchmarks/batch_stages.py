"""Stage times of a batch, and what they mean for 10⁵ to 10⁶ studies (docs/scale.md explains the arithmetic).

    python benchmarks/batch_stages.py                                    4 scans, tiny random network
    python benchmarks/batch_stages.py --network full --finer 2           scans of 1.5 mm, network of full size
    python benchmarks/batch_stages.py scans/ --job wholebody --fast      your own scans and weights
    python benchmarks/batch_stages.py --prepare 6 --infer 12 --finish 8  no run: times measured elsewhere

Printed: mean seconds per stage, bytes read and written per case, what bounds a line, and the table of the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOUR_S, DAY_H = 3600.0, 24.0
GB = 1e9


@dataclass(frozen=True)
class Measured:
    """One case's means: seconds of each stage, megabytes read and written."""

    prepare_s: float
    infer_s: float
    finish_s: float
    read_mb: float
    written_mb: float

    @property
    def line_s(self) -> float:
        """Seconds between two finished cases of one line: its slowest stage, as the stages overlap."""
        return max(self.prepare_s, self.infer_s, self.finish_s)


@dataclass(frozen=True)
class Plan:
    """What a number of studies takes.

    Attributes:
        days: on all lines together.
        line_hours: the same on one line; times the price of a device-hour it is the cost.
        stored_tb: results kept.
        network_mb_s: read and written by all lines together.
        repeated: cases that run again, by failures of nodes and cases.
    """

    days: float
    line_hours: float
    stored_tb: float
    network_mb_s: float
    repeated: float


def plan(studies: float, lines: int, measured: Measured, *, failure_rate: float, node_mtbf_h: float) -> Plan:
    """Do the arithmetic.

    Args:
        studies: how many.
        lines: devices that work at once.
        measured: one case's means.
        failure_rate: share of the cases that are tried once more.
        node_mtbf_h: mean hours between two failures of one node (a line each); each costs the cases on the way, half
            done on the mean.
    """
    line_h = studies * (1 + failure_rate) * measured.line_s / HOUR_S
    losses = line_h / node_mtbf_h
    lost_cases = losses * 3  # one in each stage; what waits between two stages has done little
    line_h += lost_cases * 0.5 * (measured.prepare_s + measured.infer_s + measured.finish_s) / HOUR_S
    return Plan(
        days=line_h / lines / DAY_H,
        line_hours=line_h,
        stored_tb=studies * measured.written_mb / 1e6,
        network_mb_s=lines * (measured.read_mb + measured.written_mb) / measured.line_s,
        repeated=studies * failure_rate + lost_cases,
    )


def table(measured: Measured, price: float, failure_rate: float = 0.02, node_mtbf_h: float = 1000.0) -> list[str]:
    """Return the page's table as Markdown lines."""
    lines = [
        "| studies | devices | days | device-hours | cost | results | network | run again |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for studies in (1e5, 1e6):
        for devices in (1, 8, 64):
            p = plan(studies, devices, measured, failure_rate=failure_rate, node_mtbf_h=node_mtbf_h)
            lines.append(
                f"| {studies:,.0f} | {devices} | {p.days:,.1f} | {p.line_hours:,.0f} | {p.line_hours * price:,.0f} | "
                f"{p.stored_tb:,.1f} TB | {p.network_mb_s:,.0f} MB/s | {p.repeated:,.0f} |"
            )
    return lines


def measure(arguments: argparse.Namespace, folder: Path) -> Measured:
    """Run a batch and return its means; the first case of each process, which imports, is left out."""
    from promptseg.batch.job import JobSpec
    from promptseg.batch.manifest import Manifest
    from promptseg.batch.run import BatchOptions, run_batch

    if not arguments.inputs:
        sys.path.insert(0, str(ROOT / "benchmarks"))
        from batch_against_cli import environment_with_weights, make_cases

        environment_with_weights(folder, arguments.network)
        arguments.inputs = make_cases(folder, None, arguments.cases, arguments.finer)
    options = {"task": arguments.task, "fast": arguments.fast} if arguments.job == "wholebody" else {}
    spec = JobSpec(arguments.job, options, device=arguments.device)
    out = arguments.output or folder / "out"
    run_batch(arguments.inputs, spec, out, BatchOptions(resume=True, workers=1))
    manifest = Manifest.go_on(out, spec.to_dict())
    done = list(manifest.records("done"))[1:]
    manifest.close()
    if not done:
        sys.exit("expected at least two cases to succeed; see the report")
    read = [sum(Path(file).stat().st_size for file in (r.case.files or (r.case.image,))) for r in done]
    written = [sum(f.stat().st_size for f in (out / "cases" / r.case.id).iterdir()) for r in done]
    mean = {stage: sum(r.stages[stage] for r in done) / len(done) for stage in ("prepare", "infer", "finish")}
    return Measured(
        mean["prepare"], mean["infer"], mean["finish"], sum(read) / len(done) / 1e6, sum(written) / len(done) / 1e6
    )


def main(given: Sequence[str] | None = None) -> None:
    """Measure, or take times measured elsewhere; print what they mean."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--job", default="wholebody")
    parser.add_argument("--task", default="total")
    parser.add_argument("--fast", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=int, default=4, help="without inputs: how many scans")
    parser.add_argument("--network", choices=("tiny", "full"), default="tiny", help="without inputs: its size")
    parser.add_argument("--finer", type=int, default=1, help="without inputs: resolution, times that of the image")
    parser.add_argument("-o", "--output", type=Path)
    for stage in ("prepare", "infer", "finish"):
        parser.add_argument(f"--{stage}", type=float, help="seconds, in place of a measurement")
    parser.add_argument("--read-mb", type=float, default=100.0, help="with --infer: size of a study")
    parser.add_argument("--written-mb", type=float, default=2.0, help="with --infer: size of its results")
    parser.add_argument("--price", type=float, default=2.0, help="of one device-hour, in any currency")
    arguments = parser.parse_args(given)
    if arguments.infer is not None:
        found = Measured(arguments.prepare or 0.0, arguments.infer, arguments.finish or 0.0,
                         arguments.read_mb, arguments.written_mb)  # fmt: skip
    else:
        with tempfile.TemporaryDirectory(prefix="promptseg-bench-") as name:
            found = measure(arguments, Path(name))
    slowest = max(("prepare", "infer", "finish"), key=lambda stage: getattr(found, f"{stage}_s"))
    total_s = found.prepare_s + found.infer_s + found.finish_s
    print(f"seconds per case: prepare {found.prepare_s:.2f}, infer {found.infer_s:.2f}, finish {found.finish_s:.2f}")
    print(f"one after another {total_s:.2f} s, overlapped {found.line_s:.2f} s")
    print(f"megabytes per case: read {found.read_mb:.2f}, written {found.written_mb:.3f}; {os.cpu_count()} cores")
    print(f"a line is bound by: {slowest}; {HOUR_S / found.line_s:.0f} cases per hour")
    print("\n".join(table(found, arguments.price)))


if __name__ == "__main__":
    main()
