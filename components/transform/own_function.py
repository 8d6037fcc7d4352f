"""A line's own `preprocessing_fn`: called as it is, the transformed label added."""

from __future__ import annotations

import inspect
from typing import Any

from components.dotted_path import imported_function
from components.transform.plan import LabelPlan
from components.transform.preprocessing import transform_label
from components.transform.raw_tensors import dense

CONFIG_KEY = "transform.preprocessing_fn"


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Runs the line's own `preprocessing_fn` and adds the transformed label, which is made in one way for every line.

    Args:
        inputs: raw columns as TFT gives them.
        custom_config: `preprocessing_fn`: dotted path; `label`: a LabelPlan; `label_type`; `config`: what the line's
            own function gets as its custom_config, if it takes one.

    Returns:
        What the function returned, without the label's own key, and the transformed label.
    """
    function = imported_function(custom_config["preprocessing_fn"], CONFIG_KEY)
    takes_config = "custom_config" in inspect.signature(function).parameters
    features = dict(function(inputs, custom_config=custom_config["config"]) if takes_config else function(inputs))
    label = LabelPlan.model_validate(custom_config["label"])
    features.pop(label.name, None)
    features[label.key] = transform_label(label, dense(inputs[label.name], custom_config["label_type"]))
    return features
