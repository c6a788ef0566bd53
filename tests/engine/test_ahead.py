"""Slices are embedded before they are asked for: while a person looks, and several in one run on a walk."""

import subprocess
import sys
import threading
import time

import numpy as np
from phantoms import PHANTOMS, SHAPE, volume_of

import promptseg
from promptseg.models.embeddings import CachedPredictor, EmbeddingCache
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.session import Session

WORKER = "promptseg-prefetch"


class Watched(OraclePredictor):
    """Remembers which thread embedded which slices, and in runs of how many."""

    def __init__(self):
        super().__init__()
        self.by, self.runs = [], []

    def embed(self, image):
        self.by.append((threading.current_thread().name, image.pixels.tobytes()))
        return super().embed(image)

    def embed_batch(self, images):
        self.runs.append(len(images))
        return [self.embed(image) for image in images]


def wait_for(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def test_the_next_slices_first_click_finds_its_embedding_made():
    truth, k, (y, x) = PHANTOMS["drifts"]
    volume, model = volume_of(truth), Watched()
    session = Session(volume, CachedPredictor(model, EmbeddingCache("ahead")))
    session.add(promptseg.Point(voxel=(k, y, x)), propagate=False)
    wait_for(lambda: len(model.by) >= 5, "the slices beside the clicked one")
    shown = {volume.window.apply(volume.array[at]).tobytes(): at for at in range(SHAPE[0])}
    assert [shown[pixels] for name, pixels in model.by if name != WORKER] == [k]
    assert [shown[pixels] for name, pixels in model.by if name == WORKER] == [k + 1, k - 1, k + 2, k - 2]
    session.add(promptseg.Point(voxel=(k + 1, y, x)), propagate=False)
    assert session.mask()[k + 1].any()
    by_person = [shown[pixels] for name, pixels in model.by if name != WORKER]
    assert by_person == [k]  # the second slice came from the cache
    wait_for(lambda: len(model.by) >= 6, "the slice after the next")
    assert shown[model.by[5][1]] == k + 3


def test_a_model_without_a_thread_is_not_asked_ahead():
    truth, k, (y, x) = PHANTOMS["drifts"]
    model = Watched()
    Session(volume_of(truth), model).add(promptseg.Point(voxel=(k, y, x)), propagate=False)
    assert len(model.by) == 1


def test_a_walk_embeds_several_slices_in_one_run_where_that_pays():
    truth, k, (y, x) = PHANTOMS["ends"]
    masks, models = [], []
    for batch in (1, 4):
        model = Watched()
        model.batch = batch
        session = Session(volume_of(truth), model)
        session.add(promptseg.Point(voxel=(k, y, x)))
        masks.append(session.mask())
        models.append(model)
    assert np.array_equal(*masks)
    assert set(models[0].runs) == {1}
    assert models[1].runs.count(4) >= 3
    assert len(models[1].by) <= SHAPE[0]  # none twice


def test_nothing_is_begun_ahead_while_somebody_waits(monkeypatch):
    monkeypatch.setattr("promptseg.models.embeddings.REST_S", 0.05)
    truth, k, (y, x) = PHANTOMS["drifts"]
    begun, go = threading.Event(), threading.Event()

    class Slow(Watched):
        def predict(self, embedding, prompts, prior=None):
            begun.set()
            assert go.wait(30)
            return super().predict(embedding, prompts, prior)

    model = Slow()
    cached = CachedPredictor(model, EmbeddingCache("waits"))
    session = Session(volume_of(truth), cached)
    click = threading.Thread(target=session.add, args=(promptseg.Point(voxel=(k, y, x)),), kwargs={"propagate": False})
    click.start()
    assert begun.wait(30)
    other = promptseg.models.predictor.SliceImage(np.zeros(SHAPE[1:], np.float32))
    cached.prefetch([other])
    time.sleep(0.3)  # six times as long as a rest
    assert [name for name, _ in model.by].count(WORKER) == 0
    go.set()
    click.join(30)
    wait_for(lambda: WORKER in [name for name, _ in model.by], "what was wanted ahead")


def test_a_process_ends_in_peace_while_slices_are_made_ahead():
    code = (
        "import time, numpy as np\n"
        "from promptseg.models.embeddings import CachedPredictor, EmbeddingCache\n"
        "from promptseg.models.families.oracle import OraclePredictor\n"
        "from promptseg.models.predictor import SliceImage\n"
        "class Slow(OraclePredictor):\n"
        "    def embed(self, image):\n"
        "        print('begun', flush=True); time.sleep(0.5); print('done', flush=True)\n"
        "        return super().embed(image)\n"
        "model = Slow()\n"
        "cached = CachedPredictor(model, EmbeddingCache('end'))\n"
        "cached.prefetch([SliceImage(np.full((4, 4), v, np.float32)) for v in (0.1, 0.2, 0.3)])\n"
        "while not cached._running: time.sleep(0.01)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "done"]  # the one at hand, and none of the others
