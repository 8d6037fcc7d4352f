"""Beam's local runner: nothing from outside; workers that import what this process does, and end when it ends.

Beam's own DirectRunner downloads an executable (Prism) and hands the pipeline to it, whatever its running mode; only
where there is no network does it come to the runner that is meant. Imports Beam: import it when a run starts.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_provision_api_pb2
from apache_beam.runners import runner
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers
from apache_beam.runners.portability.portable_runner import JobServiceHandle

# `python -m`, which is Beam's way, looks in the current folder before all else, and a user may have a data.py there.
# When a run is killed, Beam's worker waits on for ever for something to do.
_WORKER = """
import json, os, runpy, sys, threading, time
sys.path[:] = json.loads(sys.argv.pop())
parent = int(sys.argv.pop())
def watch():
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("apache_beam.runners.worker.sdk_worker_main", run_name="__main__", alter_sys=True)
"""


class LocalRunner(runner.PipelineRunner):  # type: ignore[misc]
    """Carries a Beam pipeline out here, in the `direct_running_mode` of its options."""

    def run_pipeline(self, pipeline: Any, options: Any) -> Any:
        """Runs a pipeline to its end; workers in other processes get its options."""
        encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision)).run_pipeline(
            pipeline, options
        )


def worker_command() -> str:
    """Returns the shell command of a worker process with this process's Python and import path."""
    return "exec " + shlex.join([sys.executable, "-c", _WORKER, str(os.getpid()), json.dumps(sys.path)])


@worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WorkerProcess(worker_handlers.SubprocessSdkWorkerHandler):  # type: ignore[misc]
    """A worker process whose end is noticed: Beam's own handler waits for ever for what a killed one was asked."""

    def __init__(self, command: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(worker_command().encode(), state, provision_info, grpc_server)
        self._closed = threading.Event()

    def start_worker(self) -> None:
        """Starts the process and watches it."""
        self.worker = local_job_service.SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(name="run_worker", target=self._watch)
        self.worker_thread.start()

    def close(self) -> None:
        """Ends the process."""
        self._closed.set()
        super().close()

    def _watch(self) -> None:
        try:
            self.worker.run()
            error = "by itself"
        except RuntimeError as ended:
            error = f"({ended})"
        # What is asked of it after its end must not wait either.
        while not self._closed.wait(0.1):
            for name, answer in list(self.control_conn._futures_by_id.items()):
                answer.set(
                    beam_fn_api_pb2.InstructionResponse(
                        instruction_id=name,
                        error=f"a Beam worker process ended at work {error}. If the system was short of memory, set "
                        "beam.direct_num_workers lower",
                    )
                )
