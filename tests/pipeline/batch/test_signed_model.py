"""A batch that asks for a signature predicts with nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.batch.released_model import check_model, find_model
from schema.errors import ReleaseError
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import SignedLine, trust


def test_only_what_a_trusted_key_has_signed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    line = SignedLine(tmp_path, ToyModels(tmp_path_factory.mktemp("toy-models")))
    line.push(1)
    line.push(2, number=None)
    for version, words in ((None, "the release must be signed"), (1, "")):
        model = find_model(line.ledger.path, line.base, version)
        check_model(model)
        if words:
            with pytest.raises(ReleaseError, match=words):
                check_model(model, trust(1))
        else:
            check_model(model, trust(1))
    (line.base / "1" / "more").write_bytes(b"")
    check_model(find_model(line.ledger.path, line.base, 1))
    with pytest.raises(ReleaseError, match="1/more: it must be one of the files that were signed"):
        check_model(find_model(line.ledger.path, line.base, 1), trust(1))
