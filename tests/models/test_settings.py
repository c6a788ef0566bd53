"""The model manager's settings."""

from pathlib import Path

import pytest

from promptseg.errors import SettingsError
from promptseg.models.settings import model_settings


def test_defaults_follow_the_platform_and_variables_win():
    plain = model_settings({})
    assert plain.models_dir.name == "models"
    assert not plain.offline
    assert plain.loaded_bytes > 0
    found = model_settings(
        {
            "PROMPTSEG_MODELS": "/weights",
            "PROMPTSEG_MIRRORS": "https://a.example/m/, file:///srv/m ,",
            "HF_ENDPOINT": "https://hub.example/",
            "HF_HUB_OFFLINE": "1",
            "PROMPTSEG_EMBEDDINGS_MB": "100",
            "PROMPTSEG_PRECISION": "INT8",
        }
    )
    assert found.models_dir == Path("/weights")
    assert found.mirrors == ("https://a.example/m", "file:///srv/m")
    assert found.hf_endpoint == "https://hub.example"
    assert found.offline
    assert not model_settings({"PROMPTSEG_OFFLINE": "0", "HF_HUB_OFFLINE": "1"}).offline
    assert found.embedding_disk_bytes == 100 * 1024**2
    assert found.precision == "int8"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROMPTSEG_OFFLINE", "maybe"), ("PROMPTSEG_LOADED_MB", "-1"), ("PROMPTSEG_RUNTIME", "jax")],
)
def test_an_impossible_value_names_its_variable(name, value):
    with pytest.raises(SettingsError, match=name):
        model_settings({name: value})
