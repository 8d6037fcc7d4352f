from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schema.errors import ConfigError
from schema.loading import LoadedLine, find_line, load_line, shipped_lines

MINIMAL = "name: demo\ntask: binary_classification\nlabel: {name: y}\nexamples: {input: a.csv}\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str, name: str = "line.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def load(path: Path, **options: object) -> LoadedLine:
    return load_line(path, env={}, **options)  # type: ignore[arg-type]


def complaint(path: Path, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_line(path, **{"env": {}, **options})  # type: ignore[arg-type]
    return str(caught.value)


def test_a_short_line_loads(write: Write) -> None:
    loaded = load(write(MINIMAL))
    assert loaded.line.name == "demo"
    assert loaded.path == loaded.base_dir / "line.yaml"
    assert loaded.files == (loaded.path,)
    assert loaded.line.examples.splits == {"train": 7, "validation": 1, "eval": 2}


@pytest.mark.parametrize("name", sorted(shipped_lines()))
def test_shipped_lines_load(name: str) -> None:
    assert load_line(shipped_lines()[name], env={}).line.name == name


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        ("trainer: {epochz: 3}", "5: trainer.epochz: a key in trainer must be one of model, batch_size, epochs,"),
        ("trainer: {epochz: 3}", "Got 'epochz' instead; did you mean 'epochs'?"),
        ("exmples: 1", "5: exmples: a key must be one of name, description,"),
        ("trainer: {hidden_units: [3]}", "the key 'hidden_units' belongs at"),
        ("trainer:\n  model:\n    activation: rellu", "7: trainer.model.activation must be one of relu, "
         "gelu, swish, tanh. "
         "Got 'rellu' instead; did you mean 'relu'?"),
        ("trainer: {epochs: many}", "5: trainer.epochs must be an integer, at least 1. Got 'many' instead"),
        ("trainer: {epochs: 0}", "trainer.epochs must be an integer, at least 1. Got 0 instead"),
        ("trainer: {epochs: 2.5}", "trainer.epochs must be an integer, at least 1. Got 2.5 instead"),
        ("trainer: {epochs: }", "trainer.epochs must be an integer, at least 1. Got nothing (null) instead"),
        ("trainer: {model: {dropout: 1}}", "must be a number, at least 0 and less than 1. Got 1 instead"),
        ("trainer: {warm_start: perhaps}", "trainer.warm_start must be true or false. Got 'perhaps' instead"),
        ("trainer: fast", "5: trainer must be a mapping with the keys model, batch_size"),
        ("transform: {exclude: id}", "transform.exclude must be a list, each item a text. Got 'id' "
         "instead; write [id]"),
        ("transform: {features: {a: {kind: num}}}", "5: transform.features.a.kind must be one of numeric, bucketized, "
         "categorical, hashed, timestamp. Got 'num' instead; did you mean 'numeric'?"),
        ("transform: {features: {a: {scale: log}}}", "transform.features.a.kind must be set, to one of numeric,"),
        ("transform: {features: {a: {kind: numeric, scal: log}}}",
         "transform.features.a.scal: a key in transform.features.a must be one of missing_indicator, kind, scale,"),
        ("transform: {features: {a: {kind: hashed, hash_buckets: x}}}",
         "transform.features.a.hash_buckets must be an integer, at least 2. Got 'x' instead"),
        ("transform: {features: {a: }}", "transform.features.a must be a mapping with a `kind`"),
        ("transform: {features: {y: {kind: numeric}}}", "transform.features must not treat the label 'y' as a feature"),
        ("transform: {features: {a: {kind: numeric, clip_quantiles: [1]}}}", "must be a list of 2: a number, a number"),
        ("transform: {crosses: [{columns: [a]}]}",
         "transform.crosses[0].columns must be a list, each item a text, at least 2 long and at most 4 long. "
         "Got ['a']"),
        ("tuner: {search_space: {batch_size: {values: [[1]]}}}",
         "tuner.search_space.batch_size.values[0] must be an integer or a number or a text or true or false. Got [1]"),
        ("evaluator: {thresholds: {auc: {value_threshold: {}}}}",
         "evaluator.thresholds.auc.value_threshold must set lower_bound or upper_bound. Got neither instead"),
        ("evaluator: {thresholds: {auc: {change_threshold: {absolute: 1}}}}",
         "evaluator.thresholds.auc.change_threshold.direction must be one of HIGHER_IS_BETTER, LOWER_IS_BETTER"),
        ("evaluator: {thresholds: {auc: {value_threshold: {lower_bound: .inf}}}}", "must be a finite number. Got .inf"),
        ("infra_validator: {p99_latency_ms: 1e999}", "must be a finite number. Got 1e999"),
        ("pusher: {push_destination: '${HOME}/models'}", "pusher.push_destination: ${HOME} must only be used "
         "for secrets"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(write: Write, addition: str, said: str) -> None:
    path = write(MINIMAL + addition + "\n")
    text = complaint(path)
    assert said in text
    assert f"\n  {path}:" in text
    assert "1 thing is wrong" in text


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_lines(write: Write) -> None:
    text = complaint(write("name: Demo\ntask: regresion\nlabel: {nam: y}\nexamples: {input: ''}\nseed: -1\n"))
    assert "6 things are wrong" in text
    lines = [int(line.split(":")[1]) for line in text.splitlines()[1:]]
    assert lines == sorted(lines) and set(lines) == {1, 2, 3, 4, 5}
    assert "label.name must be a text, at least 1 long (Name of the label." in text


def test_a_model_wide_rule_points_at_the_key_that_it_names(write: Write) -> None:
    text = complaint(write(MINIMAL.replace("{name: y}", "\n  name: y\n  classes: [a, b]\n  positive: c")))
    assert "line.yaml:6: label.positive must be one of ['a', 'b']. Got 'c' instead" in text


def test_values_that_yaml_reads_as_no_text_are_texts_where_texts_are_wanted(write: Write) -> None:
    line = load(write(MINIMAL.replace("{name: y}", "{name: y, classes: [no, yes], positive: yes}"))).line
    assert line.label.classes == ("no", "yes") and line.label.positive == "yes"
    line = load(write(MINIMAL.replace("{name: y}", "{name: 7, classes: [0, 1.0], positive: 1.0}"))).line
    assert line.label.name == "7" and line.label.classes == ("0", "1.0")
    line = load(write(MINIMAL.replace("{name: y}", "{name: y, classes: [false, true]}"))).line
    assert line.label.classes == ("false", "true")
    line = load(
        write(MINIMAL + "transform: {exclude: [007, 1e3]}\ntrainer: {warm_start: yes, learning_rate: 1e-3}\n")
    ).line
    assert line.transform.exclude == ("007", "1e3")
    assert line.trainer.warm_start is True and line.trainer.learning_rate == 1e-3


def test_empty_sections_have_their_defaults(write: Write) -> None:
    line = load(write(MINIMAL + "evaluator:\n  # thresholds: ...\ntransform:\n  exclude:\n  features:\n")).line
    assert line == load(write(MINIMAL)).line
    assert "label must be a mapping" in complaint(write(MINIMAL.replace("{name: y}", "")))


def test_overlay_is_merged_key_by_key(write: Write) -> None:
    path = write(MINIMAL + "trainer: {epochs: 5, batch_size: 64}\ntransform: {exclude: [a, b]}\n")
    write("trainer: {epochs: 9}\ntransform: {exclude: [c]}\n", "line.prod.yaml")
    loaded = load(path, environment="prod")
    assert (loaded.line.trainer.epochs, loaded.line.trainer.batch_size) == (9, 64)
    assert loaded.line.transform.exclude == ("c",)
    assert [file.name for file in loaded.files] == ["line.yaml", "line.prod.yaml"]
    assert loaded.environment == "prod"
    assert load(path).line.trainer.epochs == 5


def test_an_overlay_of_another_kind_replaces_a_feature(write: Write) -> None:
    path = write(MINIMAL + "transform: {features: {a: {kind: numeric, scale: log}, b: {kind: hashed}}}\n")
    write("transform: {features: {a: {kind: hashed, hash_buckets: 7}, b: {hash_buckets: 9}}}\n", "line.dev.yaml")
    features = load(path, environment="dev").line.transform.features
    assert features["a"].model_dump() == {"missing_indicator": None, "kind": "hashed", "hash_buckets": 7}
    assert features["b"].hash_buckets == 9  # type: ignore[union-attr]


def test_errors_name_the_file_of_the_overlay(write: Write) -> None:
    path = write(MINIMAL + "trainer: {epochs: x}\n")
    overlay = write("# dev\ntrainer: {batch_size: x}\n", "line.dev.yaml")
    text = complaint(path, environment="dev")
    assert f"{overlay}:2: trainer.batch_size must be" in text
    assert f"{path}:5: trainer.epochs must be" in text


def test_an_unknown_environment(write: Write) -> None:
    path = write(MINIMAL)
    assert "There is none at all" in complaint(path, environment="prod")
    write("seed: 1\n", "line.prod.yaml")
    assert "There are prod; did you mean 'prod'?" in complaint(path, environment="prd")
    assert "an environment must be letters" in complaint(path, environment="../x")


MYSQL = MINIMAL + "metadata: {backend: mysql, host: h, database: d, user: u, password: %s}\n"


def test_secrets_come_from_the_environment_and_are_kept_apart(write: Write) -> None:
    loaded = load_line(write(MYSQL % '"${DB_PASSWORD}"'), env={"DB_PASSWORD": "hunter2"})
    assert loaded.secrets == {"metadata.password": "hunter2"}
    assert "hunter2" not in repr(loaded) and "hunter2" not in str(loaded)
    assert "hunter2" not in loaded.line.canonical()
    other = load_line(write(MYSQL % '"${DB_PASSWORD}"'), env={"DB_PASSWORD": "changed"})
    assert loaded.line.digest() == other.line.digest()


def test_secrets_that_are_unset_or_written_out(write: Write) -> None:
    text = complaint(write(MYSQL % '"${DB_PASSWORD}"'))
    assert "line.yaml:5: metadata.password: the environment variable DB_PASSWORD must be set" in text
    for literal in ("hunter2", "12345678", "$hunter2", "'${hunter2-x}'"):
        text = complaint(write(MYSQL % literal))
        assert "metadata.password is a secret and must be given as ${NAME}" in text
        assert "hunter2" not in text and "12345678" not in text
    assert load(write(MYSQL % '"${DB_PASSWORD}"'), resolve_secrets=False).secrets == {}


def test_a_misspelt_secret_is_not_shown(write: Write) -> None:
    text = complaint(write(MINIMAL + "metadata: {pasword: hunter2}\n"))
    assert "did you mean 'password'?" in text and "hunter2" not in text
    assert "hunter2" not in complaint(write(MINIMAL + "metadata: hunter2\n"))


@pytest.mark.parametrize("given", ["here", "here/line.yaml", "./here", "other.yaml"])
def test_a_line_is_found_by_folder_or_file(write: Write, tmp_path: Path, given: str) -> None:
    write(MINIMAL, "here/line.yaml")
    write(MINIMAL, "other.yaml")
    assert find_line(given, tmp_path).is_file()


def test_a_line_is_found_by_name(tmp_path: Path) -> None:
    assert find_line("taxi", tmp_path) == shipped_lines()["taxi"]


def test_a_line_that_is_not_there(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_line("taxy", tmp_path)
    text = str(caught.value)
    assert "did you mean 'taxi'?" in text and str(tmp_path / "taxy" / "line.yaml") in text and "taxi-fare" in text
    write("a,b\n", "table.csv")
    with pytest.raises(ConfigError, match="conveyor init table.csv --label COLUMN"):
        find_line("table.csv", tmp_path)


def test_a_name_that_means_two_lines(write: Write, tmp_path: Path) -> None:
    mine = write(MINIMAL, "taxi/line.yaml")
    with pytest.raises(ConfigError, match="There are two"):
        find_line("taxi", tmp_path)
    assert find_line("./taxi", tmp_path).resolve() == mine.resolve()


def test_only_the_secrets_of_some_sections_are_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_text(
        "name: a\ntask: regression\nlabel: {name: y}\nexamples: {input: t.csv}\n"
        "pusher: {signing: {key: '${RELEASE_KEY}'}}\n"
        "serving: {capture: {hash: [x], hash_key: '${HASH_KEY}'}}\n"
    )
    found = load_line(path, env={"HASH_KEY": "h"}, resolve_secrets=("serving",))
    assert found.secrets == {"serving.capture.hash_key": "h"}
    with pytest.raises(ConfigError, match="the environment variable HASH_KEY must be set"):
        load_line(path, env={"RELEASE_KEY": "k"}, resolve_secrets=("serving",))
    with pytest.raises(ConfigError, match="the environment variable RELEASE_KEY must be set"):
        load_line(path, env={"HASH_KEY": "h"})
