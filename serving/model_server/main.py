"""`conveyor-model-server`: a model server that takes TensorFlow Serving's flags.

Exit codes: 0, stopped by a signal after all requests were answered; 1, a model cannot be served; 2, wrong usage: flags,
config files, certificates, a port that is taken; 130 or 143, ended at once by a second signal.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata

from schema.errors import ConveyorError
from serving.model_server.flags import PROGRAM, UNUSED, Flags, ShowHelp, ShowVersion, parse, usage

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the model server until a signal ends it.

    Args:
        arguments: the command line; the process's own if not given.

    Returns:
        The exit code.
    """
    try:
        flags = parse(sys.argv[1:] if arguments is None else arguments)
    except ShowHelp:
        sys.stdout.write(usage())
        return 0
    except ShowVersion:
        sys.stdout.write(f"{PROGRAM}: {_version('conveyor-tfx')}\nTensorFlow Library: {_version('tensorflow')}\n")
        return 0
    except ConveyorError as error:
        return _failed(error, error.exit_code)
    _set_up_logging()
    _warn(flags)
    try:
        return _serve(flags)
    except KeyboardInterrupt:
        # While TensorFlow is imported; later on the server itself takes signals.
        return 128 + signal.SIGINT


def _serve(flags: Flags) -> int:
    from serving.model_server.errors import ServingError
    from serving.model_server.server import ModelServer

    try:
        ended = ModelServer(flags).run()
    except ServingError as error:
        return _failed(f"{error.code.name}: {error.message}", 1)
    except ConveyorError as error:
        return _failed(error, error.exit_code)
    if not ended:
        _log.warning("TensorFlow is still at work for requests that were cut off; it is ended with the process")
        logging.shutdown()
        os._exit(0)
    return 0


def _warn(flags: Flags) -> None:
    if flags.unused:
        reasons = ", ".join(f"--{name} ({UNUSED[name][1]})" for name in flags.unused)
        _log.warning("Flags of TensorFlow Serving that mean nothing here: %s", reasons)


def _set_up_logging() -> None:
    # Before anything imports TensorFlow, whose remarks on itself say nothing about the models.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Of libraries about each other and about Python.
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _failed(error: object, code: int) -> int:
    print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
    return code


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


if __name__ == "__main__":
    sys.exit(main())
