"""Embeddings made once: in memory, on disk, by several processes, and ahead of time."""

import multiprocessing
import threading
import time

import numpy as np
import pytest

from promptseg.models.embeddings import CachedPredictor, EmbeddingCache, clear_embeddings, embedding_info
from promptseg.models.predictor import Embedding, Prediction, Predictor, SliceImage, SlicePrompts


class Counting:
    """A fake whose embedding is the slice, a kilobyte-sized one."""

    model_id = "counting"
    nbytes = 7
    described = "a fake"

    def __init__(self, delay_s=0.0):
        self.embedded = []
        self.delay_s = delay_s
        self.lock = threading.Lock()

    def embed(self, image):
        with self.lock:
            self.embedded.append(float(image.pixels[0, 0]))
        time.sleep(self.delay_s)
        if image.pixels[0, 0] < 0:
            raise ValueError("negative")
        return Embedding(self.model_id, image.shape, image.spacing_mm, {"pixels": image.pixels * np.float32(1 / 3)})

    def predict(self, embedding, prompts, prior=None):
        return Prediction(embedding.features["pixels"], 1.0)


def image(value, shape=(10, 12)):
    return SliceImage(np.full(shape, value, np.float32), (0.5, 0.7))


def test_the_same_content_is_embedded_once():
    inner = Counting()
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    assert isinstance(predictor, Predictor)
    assert (predictor.model_id, predictor.nbytes, predictor.described) == ("counting", 7, "a fake")
    first = predictor.embed(image(0.5))
    assert predictor.embed(image(0.5)) is first
    predictor.embed(SliceImage(image(0.5).pixels, (1.0, 1.0)))  # another spacing is another slice
    predictor.embed(image(0.5, (12, 10)))
    made = predictor.embed_batch([image(0.1), image(0.5), image(0.1)])
    assert made[1] is first
    assert made[0] is made[2]
    assert inner.embedded == pytest.approx([0.5, 0.5, 0.5, 0.1])
    assert predictor.predict(first, SlicePrompts()).score == 1.0


def test_memory_is_bounded_by_the_least_recently_used():
    inner = Counting()
    predictor = CachedPredictor(inner, EmbeddingCache("m", memory_bytes=3 * 480))
    for value in (0.1, 0.2, 0.3, 0.1, 0.4, 0.1, 0.2):
        predictor.embed(image(value))
    assert inner.embedded == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.2])


def test_the_disk_gives_the_same_bits_as_the_first_time(tmp_path):
    def fresh(key="m"):
        return CachedPredictor(Counting(), EmbeddingCache(key, disk=tmp_path, disk_bytes=10**6))

    first = fresh().embed(image(0.1))
    later = fresh()
    again = later.embed(image(0.1))
    assert later.inner.embedded == []
    assert np.array_equal(first.features["pixels"], again.features["pixels"])
    assert again.features["pixels"].dtype == np.float32
    assert (again.model_id, again.shape, again.spacing_mm) == ("counting", (10, 12), (0.5, 0.7))
    other = fresh("another model")
    other.embed(image(0.1))
    assert len(other.inner.embedded) == 1
    assert embedding_info(tmp_path).count == 2
    assert clear_embeddings(tmp_path).count == 2
    assert embedding_info(tmp_path).nbytes == 0


def test_a_spoiled_file_is_made_anew(tmp_path):
    cache = EmbeddingCache("m", disk=tmp_path, disk_bytes=10**6)
    CachedPredictor(Counting(), cache).embed(image(0.1))
    (path,) = tmp_path.glob("*/*.npz")
    path.write_bytes(path.read_bytes()[:100])
    later = CachedPredictor(Counting(), EmbeddingCache("m", disk=tmp_path, disk_bytes=10**6))
    later.embed(image(0.1))
    assert len(later.inner.embedded) == 1


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    predictor = CachedPredictor(Counting(), EmbeddingCache("m", disk=tmp_path / "file", disk_bytes=10**6))
    assert predictor.embed(image(0.1)).shape == (10, 12)


def test_the_disk_is_swept_to_its_limit(tmp_path):
    cache = EmbeddingCache("m", disk=tmp_path, disk_bytes=3000)
    predictor = CachedPredictor(Counting(), cache)
    for value in np.linspace(0.1, 0.9, 8):
        predictor.embed(image(value))
    cache.sweep()
    assert 0 < embedding_info(tmp_path).nbytes <= 3000
    later = CachedPredictor(Counting(), EmbeddingCache("m", disk=tmp_path, disk_bytes=3000))
    later.embed(image(0.9))  # the newest is still there
    assert later.inner.embedded == []


def _write_some(folder, values):
    predictor = CachedPredictor(Counting(), EmbeddingCache("m", disk=folder, disk_bytes=4000))
    for value in values:
        predictor.embed(image(value))


def test_two_processes_share_the_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    values = np.linspace(0.1, 0.9, 20).tolist()
    workers = [context.Process(target=_write_some, args=(tmp_path, order)) for order in (values, values[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert list(tmp_path.glob("*/.part-*")) == []


def test_two_threads_make_one_embedding():
    inner = Counting(delay_s=0.1)
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    made = []
    threads = [threading.Thread(target=lambda: made.append(predictor.embed(image(0.3)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(m) for m in made}) == 1
    assert len(inner.embedded) == 1


def test_an_error_reaches_the_caller_and_is_tried_again():
    predictor = CachedPredictor(Counting(), EmbeddingCache("m"))
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            predictor.embed(image(-1.0))


def test_slices_are_made_ahead_and_a_new_wish_replaces_the_old():
    inner = Counting(delay_s=0.05)
    predictor = CachedPredictor(inner, EmbeddingCache("m"))
    predictor.prefetch([image(v) for v in (0.1, 0.2, 0.3, 0.4)])
    time.sleep(0.01)
    predictor.prefetch([image(-1.0), image(0.9)])  # the first one fails in silence
    assert predictor.embed(image(0.9)).shape == (10, 12)
    assert inner.embedded.count(pytest.approx(0.9)) == 1
    assert len(inner.embedded) <= 4
