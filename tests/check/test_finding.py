"""A finding is a plain sentence for people and a record for programs."""

from __future__ import annotations

import copy
import json
import pickle

from promptseg.check import Finding, Severity, worst


def test_it_is_the_sentence() -> None:
    finding = Finding("a slice is missing", "missing-slices", Severity.ERROR, "refused")
    assert finding == "a slice is missing"
    assert json.dumps([finding]) == '["a slice is missing"]'
    assert f"note: {finding}" == "note: a slice is missing"
    assert finding.to_dict() == {
        "code": "missing-slices",
        "severity": "error",
        "sentence": "a slice is missing",
        "done": "refused",
    }


def test_a_plain_sentence_becomes_a_note() -> None:
    finding = Finding("one", "x", Severity.WARNING)
    assert Finding.of(finding) is finding
    assert (Finding.of("two").code, Finding.of("two").severity) == ("note", Severity.INFO)


def test_copies_keep_what_it_carries() -> None:
    finding = Finding("one", "x", Severity.WARNING, "assumed")
    for other in (copy.deepcopy(finding), pickle.loads(pickle.dumps(finding))):
        assert other.to_dict() == finding.to_dict()


def test_worst() -> None:
    info, warning, error = (Finding("s", "c", severity) for severity in Severity)
    assert worst([]) is Severity.INFO
    assert worst([info, warning]) is Severity.WARNING
    assert worst([warning, error, info]) is Severity.ERROR
