"""A real Ray cluster of two nodes (as processes) on this machine; one of them is killed in the middle."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from promptseg.batch.events import CaseEnded
from promptseg.batch.job import JobSpec
from promptseg.batch.run import BatchOptions, run_batch
from promptseg.errors import SettingsError

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray 2.60 leaves sockets and log files to the garbage collector when it shuts down
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # Ray 2.60 says so of its own future default for workers without a GPU
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]


STARTS = 4  # Ray gives a node 30 s to start, which a busy machine may exceed
PATIENCE_S = 280


def start_nodes(cluster, count, **arguments):
    """Add nodes; one that was too slow is tried again."""
    added, tries = [], 0
    while len(added) < count:
        try:
            added.append(cluster.add_node(**arguments))
        except Exception as exc:
            tries += 1
            if tries == STARTS or "timed out during startup" not in str(exc):
                raise
    return added


def free_port():
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


@pytest.mark.parametrize("address", ["auto", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_answers_is_one_sentence(trouble, cases, tmp_path, address):
    with pytest.raises(SettingsError, match=f"expected a Ray cluster at '{address}', none answers there"):
        run_batch(cases("a"), trouble, tmp_path / "out", BatchOptions(cluster=address))


@pytest.fixture(scope="module")
def cluster():
    """Start a head without room for work and two nodes that say they have a GPU, so each gets one line."""
    pytest.importorskip("grpc", reason="Ray's client (grpcio) is not installed")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        made = Cluster()
        made.door = free_port()
        start_nodes(made, 1, num_cpus=0, include_dashboard=False, ray_client_server_port=made.door)
        made.nodes = start_nodes(made, 2, num_cpus=1, num_gpus=1, object_store_memory=100_000_000)
        made.wait_for_nodes(timeout=120)
        yield made
        made.shutdown()


def told(output, case_id):
    """Return what the job said of itself: its process, how often it loaded, which GPU it sees."""
    return json.loads((output / "cases" / case_id / "case.json").read_text())["findings"]


def test_a_batch_from_python(cluster, trouble, cases, tmp_path):
    events, spec = [], JobSpec(trouble.job, device="cuda")
    options = BatchOptions(cluster=cluster.address, retries=0)
    try:
        finished = run_batch(cases("a", "b", "bug-1"), spec, tmp_path / "out", options, events.append)
    finally:
        ray.shutdown()
    assert (finished.done, finished.failed, finished.pending) == (2, 1, 0)
    assert {e.id: e.kind for e in events if isinstance(e, CaseEnded)} == {"a": None, "b": None, "bug-1": "error"}


def test_a_batch_from_the_command_line_survives_a_lost_node_and_cases_that_hang_or_take_all_memory(
    cluster, trouble, tmp_path
):
    good, bad = [f"good-{n}" for n in range(14)], {"bug-1": "error", "crashes-1": "died", "hungry-1": "memory"}
    names, out = [*good, *bad, "hangs-1"], tmp_path / "out"
    table = tmp_path / "cases.csv"
    table.write_text("image,id\n" + "".join(f"doe_jane_{name},{name}\n" for name in names))
    command = [sys.executable, "-m", "promptseg", "batch", table, "-o", out, "--job", trouble.job, "--json"]
    command += ["--cluster", f"ray://127.0.0.1:{cluster.door}", "--device", "cuda", "--option", "slow=0.5"]
    command += ["--retries", "0", "--timeout", "8", "--memory-limit", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        events, killed_at = [], []
        for line in process.stdout:
            events.append(json.loads(line))
            done = [e["id"] for e in events if e["event"] == "case" and e["state"] == "done"]
            if len({told(out, name)[0] for name in done}) == 2 and not killed_at:  # both nodes have finished cases
                killed_at.append(len(done))
                cluster.remove_node(cluster.nodes[0], allow_graceful=False)
        errors = process.stderr.read()
        assert process.wait(PATIENCE_S) == 4, errors
    assert "Traceback" not in errors
    assert killed_at[0] < 14
    assert any("went away" in e["text"] for e in events if e["event"] == "note")
    ended = {e["id"]: e for e in events if e["event"] == "case"}
    assert Counter(e["id"] for e in events if e["event"] == "case") == dict.fromkeys(names, 1)  # none was done twice
    assert {name: ended[name]["kind"] for name in names if ended[name]["state"] == "failed"} == {
        **bad, "hangs-1": "timeout",
    }  # fmt: skip
    assert {path.name for path in (out / "cases").iterdir()} == set(good)
    for name in good:
        assert told(out, name)[2] == "gpu 0"  # the one that Ray gave it
    assert {told(out, name)[1] for name in good} == {"loads 1"}  # warm
