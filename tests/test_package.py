"""The package as a whole: its public names, and what importing it costs."""

import subprocess
import sys

import pytest

import promptseg

HEAVY = ("torch", "gradio", "totalsegmentator", "ray", "SimpleITK", "pydicom", "cv2", "onnxruntime", "rich", "numpy")


def test_every_public_name_can_be_had():
    assert set(promptseg.__all__) <= set(dir(promptseg))
    for name in promptseg.__all__:
        assert getattr(promptseg, name) is not None
    assert promptseg.__version__
    with pytest.raises(AttributeError, match="no attribute 'read_volum'"):
        _ = promptseg.read_volum


def test_a_newcomer_finds_what_is_done_with_masks():
    assert {"Client", "SessionVerbs", "evaluate", "export", "measure", "report"} <= set(promptseg.__all__)
    assert callable(promptseg.evaluate)
    assert callable(promptseg.measure.measure_shape)
    assert callable(promptseg.export.write_dicom_seg)
    assert callable(promptseg.report.write_report)
    assert promptseg.Client.__module__ == "promptseg.remote.client"


def test_the_old_module_does_not_take_the_functions_place():
    code = (
        "import warnings; warnings.simplefilter('ignore'); import promptseg\n"
        "from promptseg.evaluate import LabelScore, evaluate\n"
        "print(callable(promptseg.evaluate), evaluate is not promptseg.evaluate)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "True"


def test_import_loads_nothing_heavy():
    code = f"import sys, promptseg; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_session_needs_neither_torch_nor_gradio():
    code = (
        "import sys, numpy as np, promptseg\n"
        "v = promptseg.Volume.from_array(np.zeros((4, 40, 50), np.int16))\n"
        "s = promptseg.open_session(v); s.add(promptseg.Point(voxel=(2, 20, 20)))\n"
        "print(*[m for m in ('torch', 'gradio', 'totalsegmentator', 'ray', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
