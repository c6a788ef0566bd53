"""From what a person writes ("left kidney", "Kidney_L", "左肾") to a class of a task.

Names come from four places: the classes of TotalSegmentator's registry; the SNOMED CT display names of
``export/anatomy.csv``; and from ``names.csv`` here the TG-263 primary names (Mayo et al., IJROBP 100(4), 2018, where
the structure is exactly the same), Chinese names, and common English synonyms.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from promptseg.errors import PromptError, UnknownNameError

__all__ = ["Anatomy", "resolve"]

SIDES = (("left", "L", "左"), ("right", "R", "右"))
SHORT_SIDES = {"l": "left", "lt": "left", "r": "right", "rt": "right"}
FILLERS = frozenset({"the", "a", "of"})
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NUMERAL = re.compile("[一二三四五六七八九十]+")
DIGITS = {sign: value for value, sign in enumerate("一二三四五六七八九十", start=1)}
MAX_CHOICES = 12


@dataclass(frozen=True)
class Anatomy:
    """What a text means.

    Attributes:
        text: as the person wrote it.
        task: the task that segments it.
        class_name: its class there.
    """

    text: str
    task: str
    class_name: str


def resolve(text: str, *, modality: str | None = None, task: str | None = None) -> Anatomy:
    """Return the task and class that a text names.

    Upper and lower case, the order of words, spaces and underscores do not matter. Of several tasks with the class,
    one for the image's modality is taken, open ones before those that need a licence, "total" first.

    Args:
        text: an English or Chinese name.
        modality: "CT" or "MR" of the image; None where it is not known.
        task: look only there.

    Raises:
        UnknownNameError: nothing, or more than one structure, has this name; ``choices`` has those that may be meant.
        MissingExtraError: TotalSegmentator is not installed.
    """
    homes = _homes(modality, task)
    exact, within = _index()
    key = _key(text)
    if not key:
        raise PromptError(f"expected the name of a structure, got {text!r}")
    found = [name for name in exact.get(key, ()) if name in homes]
    if not found:
        found = [name for name, keys in within.items() if name in homes and any(_part(key, k) for k in keys)]
    if len(found) == 1:
        return Anatomy(text, homes[found[0]], found[0])
    where = f" in the task {task!r}" if task else f" in an image of modality {modality}" if modality else ""
    if found:
        shown = ", ".join(found[:MAX_CHOICES]) + (f" and {len(found) - MAX_CHOICES} more" if len(found) > 12 else "")
        raise UnknownNameError(
            f"{text!r} can mean several structures{where}: {shown}; name one of them", choices=tuple(found)
        )
    near = _near(text, homes)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise UnknownNameError(
        f"no structure {text!r}{where}{meant}; see: promptseg wholebody --classes TASK", choices=tuple(near)
    )


def _homes(modality: str | None, task: str | None) -> dict[str, str]:
    """Class name to the task that is taken for it."""
    from promptseg.wholebody.totalseg import all_tasks

    tasks = all_tasks()
    if task is not None and task not in tasks:
        raise PromptError(f"no whole-body task {task!r}; see: promptseg wholebody --tasks")
    chosen = [tasks[task]] if task is not None else [t for t in tasks.values() if modality in (None, t.modality)]
    order = sorted(chosen, key=lambda t: ("test" in t.name or "LEGACY" in t.name, t.needs_licence, t.modality != "CT"))
    homes: dict[str, str] = {}
    for candidate in order:  # sorted() is stable, so TotalSegmentator's own order holds otherwise: "total" is first
        for name in candidate.classes.values():
            homes.setdefault(name, candidate.name)
    return homes


Key = frozenset[str] | str  # words of an English name in any order; a Chinese name as it is


def _key(text: str) -> Key:
    if CHINESE.search(text):
        plain = re.sub(r"[\s_的侧]+", "", text)
        return NUMERAL.sub(lambda match: str(_number(match.group())), plain)
    words = re.findall(r"[a-z0-9]+", text.lower())
    return frozenset(SHORT_SIDES.get(word, word) for word in words) - FILLERS


def _number(signs: str) -> int:
    """Return 12 for 十二; runs that are no number up to 99 come out as some number too, the same one every time."""
    tens, _, ones = signs.rpartition("十")
    value = DIGITS.get(ones[-1:], 0)
    return value + 10 * (DIGITS.get(tens[-1:], 1)) if "十" in signs else value


def _part(key: Key, whole: Key) -> bool:
    if isinstance(key, str) or isinstance(whole, str):
        return isinstance(key, str) and isinstance(whole, str) and key in whole
    return key <= whole


@cache
def _index() -> tuple[Mapping[Key, tuple[str, ...]], Mapping[str, frozenset[Key]]]:
    exact: dict[Key, list[str]] = {}
    within: dict[str, set[Key]] = {}
    for name, alias in _aliases():
        key = _key(alias)
        if name not in exact.setdefault(key, []):
            exact[key].append(name)
        within.setdefault(name, set()).add(key)
    return {k: tuple(v) for k, v in exact.items()}, {k: frozenset(v) for k, v in within.items()}


@cache
def _aliases() -> tuple[tuple[str, str], ...]:
    """(class name, a name for it), the class's own name first."""
    from promptseg.wholebody.totalseg import all_tasks

    own = dict.fromkeys(name for task in all_tasks().values() for name in task.classes.values())
    pairs = [(name, name) for name in own]
    pairs += [(name, alias) for name, alias in _snomed() if name in own]
    pairs += [(name, alias) for name, alias in _table() if name in own]
    return tuple(dict.fromkeys(pairs))


def _snomed() -> Iterator[tuple[str, str]]:
    text = files("promptseg.export").joinpath("anatomy.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    names = [" ".join(filter(None, (row["modifier_meaning"], row["meaning"], row["region_meaning"]))) for row in rows]
    for row, name in zip(rows, names, strict=True):
        if names.count(name) == 1:  # "Rib" of twelve ribs names none of them
            yield row["name"], name


def _table() -> Iterator[tuple[str, str]]:
    text = files("promptseg.wholebody").joinpath("names.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        for filled in _filled(row):
            for column in ("tg263", "zh", "also"):
                for alias in filter(None, filled[column].split(";")):
                    yield filled["class"], alias


def _filled(row: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A row for each side and each number that it stands for."""
    first, _, last = row["numbers"].partition("-")
    numbers = range(int(first), int(last) + 1) if first else (0,)
    for side, letter, sign in SIDES if "{side}" in row["class"] else SIDES[:1]:
        for n in numbers:
            marks = {"{side}": side, "{S}": letter, "{侧}": sign, "{nn}": f"{n:02d}", "{n}": str(n)}
            filled = dict(row)
            for mark, value in marks.items():
                filled = {column: text.replace(mark, value) for column, text in filled.items()}
            yield filled


def _near(text: str, homes: Mapping[str, str]) -> list[str]:
    """Return the classes that have a name nearly like the text, at most three."""
    names = {alias.lower().replace("_", " "): name for name, alias in _aliases() if name in homes}
    near = get_close_matches(text.lower().replace("_", " "), names, n=3, cutoff=0.6)
    return list(dict.fromkeys(names[name] for name in near))
