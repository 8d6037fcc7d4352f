"""A gateway gives the server behind it the versions that a trusted key has signed, and no others."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from schema.errors import ReleaseError, UsageError
from serving import messages, releases
from serving.gateway.model_config_file import ModelConfigFile
from serving.gateway.models import UpstreamModels, Written
from serving.gateway.server import Gateway
from serving.gateway.signed_versions import signed_versions
from serving.gateway.upstream import Upstream
from serving.line_server.served_line import ServedLine
from serving.model_server.version_state import State
from serving.signing.version_files import SIGNATURE_FILE
from tests.serving.gateway.conftest import Asker, Behind, running, served
from tests.serving.gateway.test_models import Server
from tests.serving.line_server.conftest import until
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import SignedLine, trust


@pytest.fixture
def line(tmp_path: Path, toy_models: ToyModels) -> SignedLine:
    return SignedLine(tmp_path, toy_models)


def test_what_is_wrong_is_known_beforehand(line: SignedLine) -> None:
    line.push(1, 2, 3)
    line.push(4, number=None)
    line.push(5, number=2)
    (line.base / "2" / "variables" / "variables.index").open("ab").write(b"\0")
    content = line.ledger.path.read_bytes()
    line.ledger.path.write_bytes(content.replace(b'"run_id":"run-3"', b'"run_id":"run-9"'))
    found = signed_versions(line.base, line.ledger, trust(1))
    while found.look():
        pass
    assert found.objection(1) == ""
    words = {
        2: "variables.index: it must be as it was signed",
        3: "run_id of the ledger's entry must be 'run-3', as it was signed. Got 'run-9' instead",
        4: "the release must be signed",
        5: "the key id must be a trusted one",
    }
    for version, expected in words.items():
        assert expected in (found.objection(version) or ""), version
    # The ledger is mended: nothing has to be read again for that.
    line.ledger.path.write_bytes(content)
    assert not found.look() and found.objection(3) == ""


def test_what_is_changed_later_is_not_known_to_be_good(line: SignedLine) -> None:
    line.push(1)
    found = signed_versions(line.base, line.ledger, trust(1))
    found.look()
    assert found.objection(1) == ""
    (line.base / "1" / "more").write_bytes(b"")
    assert found.objection(1) is None
    found.look()
    assert "must be one of the files that were signed" in (found.objection(1) or "")


def test_the_server_behind_gets_signed_versions_only(line: SignedLine, tmp_path: Path) -> None:
    line.push(1)
    server = Server()
    config = tmp_path / "models.config"
    file = ModelConfigFile(config, "toy", line.base)
    written = Written(file, line.base, signed_versions(line.base, line.ledger, trust(1)))
    models = UpstreamModels("toy", line.ledger, server, written)  # type: ignore[arg-type]
    try:
        models.prepare()
        server.states = {1: State.AVAILABLE}
        models.look()
        assert models.split.stable == 1 and "versions: 1" in config.read_text()
        line.push(2, number=None)
        assert written.digests is not None
        until(lambda: bool(written.digests and written.digests.objection(2)))
        models.look()
        assert models.split.stable == 1 and "versions: 2" not in config.read_text()
        line.push(3)
        until(lambda: written.digests is not None and written.digests.objection(3) == "")
        models.look()
        assert "versions: 3" in config.read_text()
        # What the server has loaded by itself gets no requests either.
        releases.rollback(line.ledger, line.base, 1)
        releases.rollback(line.ledger, line.base, 2)
        server.states[2] = State.AVAILABLE
        models.look()
        assert models.split.stable == 1
    finally:
        models.stop()


def test_an_unsigned_live_version_is_the_end(line: SignedLine, tmp_path: Path) -> None:
    line.push(1, number=None)
    file = ModelConfigFile(tmp_path / "models.config", "toy", line.base)
    written = Written(file, line.base, signed_versions(line.base, line.ledger, trust(1)))
    models = UpstreamModels("toy", line.ledger, Server(), written)  # type: ignore[arg-type]
    with pytest.raises(ReleaseError, match=f"version 1, which is live.*{SIGNATURE_FILE}"):
        models.prepare()
    models.stop()


def test_a_server_that_finds_its_versions_itself_cannot_be_trusted(line: SignedLine, tmp_path: Path) -> None:
    plain = served(tmp_path, line)
    signed = ServedLine(**{**vars(plain), "trust": trust(1)})
    with pytest.raises(UsageError, match="must lead the server behind it by its model config file"):
        Gateway(signed, Upstream("127.0.0.1:1"), host="127.0.0.1", port=0, rest_port=0)


def test_nobody_else_tells_the_server_what_to_load(line: SignedLine, tmp_path: Path) -> None:
    line.push(1)
    behind = Behind(line.base)
    signed = ServedLine(**{**vars(served(tmp_path, line)), "trust": trust(1)})
    config = tmp_path / "models.config"
    gateway = Gateway(signed, behind.upstream, host="127.0.0.1", port=0, rest_port=0, model_config=config)
    try:
        with running(gateway):
            asker = Asker(gateway.port, gateway.rest_port)
            until(lambda: gateway.models.ready)
            assert asker.predict() == (1, 1.0)
            refused = asker.error(messages.RELOAD_CONFIG.path, messages.ReloadConfigRequest())
            assert refused.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "Only signed releases are served" in refused.details()
            asker.close()
    finally:
        behind.stop()
