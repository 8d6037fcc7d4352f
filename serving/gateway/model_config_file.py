"""TensorFlow Serving's model config file, looked at again and again: the versions of a line and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from data.whole_file import replace_text
from serving import messages

FLAGS = (
    "--model_config_file_poll_wait_seconds=1",
    # When it is started again, it reads of labels before it has loaded anything.
    "--allow_version_labels_for_unavailable_models=true",
)
"""What TensorFlow Serving must be told besides `--model_config_file`."""

_HEAD = "# Written by conveyor from the release ledger; changes are lost.\n"


class ModelConfigFile:
    """The model config file of a line.

    Args:
        path: the file.
        line: the line's name, which is the model's.
        base_path: the model base path, as TensorFlow Serving sees it.
    """

    def __init__(self, path: Path, line: str, base_path: Path) -> None:
        self.path = path
        self._line = line
        self._base_path = base_path
        self._written = ""

    def write(self, versions: Iterable[int], labels: Mapping[str, int]) -> Any:
        """Writes the file, unless that is what it says.

        Args:
            versions: the versions to serve.
            labels: version labels, of versions that are available.

        Returns:
            What it says, a `serving.messages.ModelServerConfig`.

        Raises:
            OSError: it cannot be written.
        """
        config = model_config(self._line, self._base_path, versions, labels)
        text = _HEAD + text_format.MessageToString(config)
        if text != self._written:
            replace_text(self.path, text)
            self._written = text
        return config


def model_config(line: str, base_path: Path, versions: Iterable[int], labels: Mapping[str, int]) -> Any:
    """Returns TensorFlow Serving's model config for versions of a line."""
    config = messages.ModelServerConfig()
    config.model_config_list.SetInParent()
    wanted = sorted(versions)
    # With a model that has no versions yet, TensorFlow Serving would wait for one before it looks at the file again.
    if wanted:
        model = config.model_config_list.config.add()
        model.name, model.base_path, model.model_platform = line, str(base_path), "tensorflow"
        model.model_version_policy.specific.versions.extend(wanted)
        for label, version in sorted(labels.items()):
            model.version_labels[label] = version
    return config
