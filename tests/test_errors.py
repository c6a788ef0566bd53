"""The error tree: one root, every class documented, messages that help."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from promptseg import errors
from promptseg.errors import (
    MissingExtraError,
    PromptError,
    PromptsegError,
    SeriesChoiceError,
    did_you_mean,
    error_of,
)

PUBLIC = [
    "Cancelled",
    "ChangedError",
    "DeviceError",
    "GeometryError",
    "GeometryMismatchError",
    "MissingExtraError",
    "ModelError",
    "PromptError",
    "PromptsegError",
    "ReadError",
    "RemoteError",
    "ReplayError",
    "SeriesChoiceError",
    "SettingsError",
    "StartError",
    "TooLargeError",
    "UnknownModelError",
    "UnknownNameError",
    "WriteError",
    "did_you_mean",
    "error_of",
]
CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


def drawn_tree() -> dict[str, str]:
    """Return class name to parent's name as the module's docstring draws them."""
    parents: list[tuple[int, str]] = []
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ │├└─]*)([A-Z]\w+)(\s{2,}\S|$)", line)
        if not found or not (found[1].strip() or found[2] == "PromptsegError"):
            continue
        depth = len(found[1])
        while parents and parents[-1][0] >= depth:
            parents.pop()
        tree[found[2]] = parents[-1][1] if parents else ""
        parents.append((depth, found[2]))
    return tree


def test_all_is_pinned():
    assert errors.__all__ == PUBLIC


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_a_promptseg_error_and_documented(error):
    assert issubclass(error, PromptsegError)
    assert error.__name__ in errors.__all__
    assert (error.__doc__ or "").strip()


def test_the_root_is_not_one_of_pythons_special_errors():
    assert PromptsegError.__bases__ == (Exception,)


def test_the_drawn_tree_is_the_real_one():
    assert drawn_tree() == {c.__name__: c.__base__.__name__ if c is not PromptsegError else "" for c in CLASSES}


def test_a_missing_extra_says_its_install_line():
    error = MissingExtraError("torch", "sam")
    assert 'pip install "promptseg[sam]"' in str(error)
    assert "'torch'" in str(error)
    assert error.facts == {"package": "torch", "extra": "sam"}


def test_a_series_choice_carries_the_choices():
    assert SeriesChoiceError("choose one", ("1.2", "1.3")).choices == ("1.2", "1.3")
    assert SeriesChoiceError("choose one").choices == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [("bultin", "; did you mean 'builtin'?"), ("xyz", ""), ("", "")],
)
def test_near_names(name, said):
    assert did_you_mean(name, ["builtin", "medsam-vit-b"]) == said


def test_several_near_names_best_first():
    assert did_you_mean("sam-vit", ["sam-vit-b", "sam-vit-h", "other"]).startswith("; did you mean 'sam-vit-")
    assert " or " in did_you_mean("sam-vit", ["sam-vit-b", "sam-vit-h", "other"])
    assert did_you_mean("a", []) == ""


def test_the_class_says_the_code_and_the_code_the_class():
    assert (SeriesChoiceError.code, PromptError.code, errors.GeometryMismatchError.code, errors.Cancelled.code) == (
        "series_choice",
        "prompt",
        "geometry_mismatch",
        "cancelled",
    )
    for kind in CLASSES:
        again = error_of(kind.code, "a sentence", {"choices": ["a", "b"]})
        assert (type(again), str(again), again.choices) == (kind, "a sentence", ("a", "b"))
    assert error_of("not_found", "a sentence", {}) is None
    assert len({kind.code for kind in CLASSES}) == len(CLASSES)


def test_a_module_s_own_kind_says_its_base_s_code():
    kind = type("_NarrowerError", (SeriesChoiceError,), {})
    assert kind.code == "series_choice"


@pytest.mark.parametrize(
    "error",
    [
        PromptError("three", choices=["a"], limit=3),
        MissingExtraError("torch", "sam"),
        SeriesChoiceError("choose", ("1",)),
        errors.RemoteError("gone", 404),
        PromptsegError(),
    ],
)
def test_an_error_goes_whole_from_process_to_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.facts, again.code) == (type(error), str(error), error.facts, error.code)
