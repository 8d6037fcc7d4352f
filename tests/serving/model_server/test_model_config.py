"""Model config files and the configs of HandleReloadConfigRequest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from schema.errors import ConfigError
from serving.model_server.errors import Code, ServingError
from serving.model_server.model_config import All, Latest, ModelConfig, ServerModels, Specific


def proto(text: str) -> Any:
    from tensorflow_serving.config import model_server_config_pb2

    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


FULL = """
# two models
model_config_list {
  config {
    name: "half"  base_path: "/models/half {"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 42 versions: 43 } }
    version_labels { key: "stable" value: 42 }
    version_labels { key: "canary" value: 43 }
  }
  config: <
    name: 'taxi', base_path: '/models/taxi', model_type: TENSORFLOW
    model_version_policy: { latest: { num_versions: 2 } }
  >
  config { name: "third" base_path: "/models/third" model_platform: "tensorflow" model_version_policy { all {} } }
  config { name: "fourth" base_path: "/models/fourth" model_platform: "tensorflow" }
}
"""


def test_reads_a_config_file() -> None:
    labels = {"stable": 42, "canary": 43}
    assert ServerModels.from_text(FULL, "models.config") == ServerModels(
        (
            ModelConfig("half", "/models/half {", policy=Specific((42, 43)), labels=labels),
            ModelConfig("taxi", "/models/taxi", policy=Latest(2)),
            ModelConfig("third", "/models/third", policy=All()),
            ModelConfig("fourth", "/models/fourth", policy=Latest(1)),
        )
    )


def test_a_request_is_read_as_a_file_is() -> None:
    assert ServerModels.from_proto(proto(FULL)) == ServerModels.from_text(FULL, "models.config")


def test_models_by_name() -> None:
    models = ServerModels.from_text(FULL, "models.config")
    assert models["taxi"].base_path == "/models/taxi"
    with pytest.raises(KeyError):
        models["gone"]


def test_latest_of_no_versions_is_one() -> None:
    text = FULL.replace("num_versions: 2", "num_versions: 0")
    assert ServerModels.from_text(text, "f")["taxi"].policy == Latest(1)


def test_a_single_model(tmp_path: Path) -> None:
    assert ServerModels.single("m", tmp_path).models == (ModelConfig("m", str(tmp_path)),)


def test_no_config_is_not_a_config_without_models() -> None:
    assert ServerModels.from_text("# nothing\n", "f") == ServerModels(unset=True)
    assert ServerModels.from_text("model_config_list {}", "f") == ServerModels(unset=False)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('name: "half"', "nam: 'half'", 5, 'has no field named "nam"'),
        (
            "model_config_list {\n",
            "model_config_list {{\n",
            3,
            "Error parsing text-format tensorflow.serving.ModelServerConfig: ",
        ),
        (
            "num_versions: 2",
            "num_versions: two",
            13,
            "Error parsing text-format tensorflow.serving.ModelServerConfig: ",
        ),
        ("'taxi', base", "'half', base", 11, "Illegal to list model half multiple times in config list"),
        (
            "'/models/taxi'",
            "'models/taxi'",
            11,
            "Expected model taxi to have an absolute path or URI; got base_path()=models/taxi",
        ),
        ("'/models/taxi'", "''", 11, "Expected model taxi to have an absolute path or URI; got base_path()="),
        (
            "'/models/taxi'",
            "'gs://models/taxi'",
            11,
            "Model taxi must have a base path on a file system of this machine",
        ),
        (
            "name: 'taxi', ",
            "",
            11,
            "Expected every model to have a name; the one with base_path()=/models/taxi has none",
        ),
        (", model_type: TENSORFLOW", "", 11, "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"),
        ("TENSORFLOW", "OTHER", 11, "ModelServerConfig::model_type choice 2 not supported."),
        ("TENSORFLOW", "TENSORFLOW model_platform: 'tensorflow'", 11, "Illegal setting both"),
        (
            'model_platform: "tensorflow"\n',
            'model_platform: "lite"\n',
            4,
            "Model half requests unsupported platform lite",
        ),
        (
            "model_version_policy { all {} }",
            "model_platform: 'tflite'",
            15,
            "Error parsing text-format tensorflow.serving.ModelServerConfig: ",
        ),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(old: str, new: str, line: int, message: str) -> None:
    assert old in FULL
    with pytest.raises(ConfigError) as caught:
        ServerModels.from_text(FULL.replace(old, new, 1), "/etc/models.config")
    assert str(caught.value).startswith(f"/etc/models.config:{line}: ")
    assert message in str(caught.value)
    assert "next: " in str(caught.value)


def test_a_mistake_in_a_request_is_an_invalid_argument() -> None:
    with pytest.raises(ServingError) as caught:
        ServerModels.from_proto(proto(FULL.replace("'/models/taxi'", "'models/taxi'")))
    assert caught.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(ServingError) as caught:
        ServerModels.from_proto(proto(FULL.replace("'taxi', base", "'half', base")))
    assert caught.value.message == "Illegal to list model half multiple times in config list"


def test_a_custom_config_is_refused() -> None:
    with pytest.raises(ServingError) as caught:
        ServerModels.from_proto(proto("custom_model_config {}"))
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_request_logging_by_the_config_is_named_as_not_done(caplog: pytest.LogCaptureFixture) -> None:
    ServerModels.from_text(FULL.replace("model_type: TENSORFLOW", "model_type: TENSORFLOW logging_config {}"), "f")
    assert "taxi" in caplog.text
