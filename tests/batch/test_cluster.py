"""A real Ray cluster of two nodes (as processes) on this machine; one of them is killed in the middle."""

import json
import time
from collections import Counter

import pytest

from promptseg.batch.events import Note
from promptseg.batch.job import JobSpec
from promptseg.batch.run import BatchOptions, run_batch
from promptseg.errors import SettingsError

ray = pytest.importorskip("ray")
pytestmark = [
    # Ray 2.60 leaves sockets and log files to the garbage collector when it shuts down
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # Ray 2.60 says so of its own future default for workers without a GPU
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning"),
]


STARTS = 4  # Ray gives a node 30 s to start, which a busy machine may exceed


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


@pytest.fixture
def cluster(trouble, monkeypatch):
    """Start a head without room for work and two nodes that say they have a GPU, so each gets one line."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster()
    start_nodes(made, 1, num_cpus=0, include_dashboard=False)
    made.nodes = start_nodes(made, 2, num_cpus=1, num_gpus=1, object_store_memory=100_000_000)
    made.wait_for_nodes(timeout=120)
    yield made
    ray.shutdown()
    made.shutdown()


def told(output, case_id):
    """Return what the job said of itself: its process, how often it loaded, which GPU it sees."""
    return json.loads((output / "cases" / case_id / "case.json").read_text())["findings"]


def test_a_node_killed_in_the_middle_costs_no_case(cluster, trouble, cases, tmp_path):
    from promptseg.batch.events import CaseEnded

    names = [f"good-{n}" for n in range(14)] + ["bug-1", "crashes-1"]
    spec = JobSpec(trouble.job, {"slow": "0.5"}, device="cuda")
    events, killed_at = [], []

    def on_event(event):
        events.append(event)
        done = [e.id for e in events if isinstance(e, CaseEnded) and e.state == "done"]
        both = len({told(tmp_path / "out", name)[0] for name in done}) == 2  # both nodes have finished cases
        if both and not killed_at:
            killed_at.append(len(done))
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)

    options = BatchOptions(cluster=cluster.address, retries=0)
    started = time.monotonic()
    finished = run_batch(cases(*names), spec, tmp_path / "out", options, on_event)
    assert (finished.done, finished.failed, finished.pending) == (14, 2, 0), time.monotonic() - started
    assert killed_at[0] < 14
    assert any(isinstance(e, Note) and "went away" in e.text for e in events)
    ended = Counter(e.id for e in events if isinstance(e, CaseEnded))
    assert set(ended.values()) == {1}  # nothing was done twice
    assert {path.name for path in (tmp_path / "out" / "cases").iterdir()} == {f"good-{n}" for n in range(14)}
    for name in names[:14]:
        assert told(tmp_path / "out", name)[1:3] == ["loads 1", "gpu 0"]  # warm, on the GPU that Ray gave it


def test_an_address_where_no_cluster_answers_is_one_sentence(trouble, cases, tmp_path):
    with pytest.raises(SettingsError, match="expected a Ray cluster at 'auto', none answers there"):
        run_batch(cases("a"), trouble, tmp_path / "out", BatchOptions(cluster="auto"))
