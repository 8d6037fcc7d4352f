"""The noise goes to the log, secrets go nowhere, and people still see stdout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import logging, os, sys, warnings
from pathlib import Path
from pipeline.logs import quiet_to_file
with quiet_to_file(Path(sys.argv[1]), secrets=("hunter2",)):
    logging.getLogger("tfx").info("password is %s", "hunter2")
    warnings.warn("old API")
    os.write(2, b"native noise\\n")
    print("for people")
os.write(1, b"after\\n")
logging.getLogger("x").warning("loud again")
"""


def test_noise_goes_to_the_file_and_output_to_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "run" / "log.txt"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", CODE, str(log)], cwd=root, capture_output=True, text=True, check=True)
    text = log.read_text()
    assert done.stdout == "for people\nafter\n"
    assert "native noise" in text and "old API" in text and "password is ***" in text
    assert "hunter2" not in text + done.stdout + done.stderr
    assert "native noise" not in done.stderr


SECRETS = ["hunter2", "b\"a\\c'k", "tab\tend", "pässwörd-東京", "100%s"]
ESCAPED = """
import logging, sys
from pathlib import Path
from ml_metadata.proto import metadata_store_pb2
from pipeline.logs import quiet_to_file
for number, secret in enumerate(sys.argv[2:]):
    config = metadata_store_pb2.ConnectionConfig(mysql=metadata_store_pb2.MySQLDatabaseConfig(password=secret))
    with quiet_to_file(Path(sys.argv[1]) / f"{number}.txt", secrets=(secret,)):
        logging.info("proto %s", config)
        logging.info("proto in a list %s", [config])
        logging.info("repr %r, repr of a proto's text %r", secret, str(config))
        try:
            raise ValueError(f"cannot connect by {config} with {secret}")
        except ValueError:
            logging.exception("it failed")
"""


def test_a_secret_is_masked_however_it_is_written(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", ESCAPED, str(tmp_path), *SECRETS], cwd=root, check=True, capture_output=True)
    for number, secret in enumerate(SECRETS):
        text = (tmp_path / f"{number}.txt").read_text()
        assert text.count("***") == 6
        assert "it failed\nTraceback" in text
        for piece in (secret, secret[:4], secret[-4:]):
            assert piece not in text
