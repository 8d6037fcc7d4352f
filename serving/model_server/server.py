"""The model server that the flags ask for: its models, its ports, its life."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import uvloop

from schema.errors import UsageError
from serving.model_server.access import Access
from serving.model_server.config_file import ConfigFollower, read_config
from serving.model_server.draining import serve_until_signal
from serving.model_server.errors import ServingError
from serving.model_server.flags import Flags
from serving.model_server.grpc_port import host_and_port
from serving.model_server.grpc_server import GrpcServer
from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager
from serving.model_server.metrics import PATH as METRICS_PATH
from serving.model_server.metrics import Metrics
from serving.model_server.model_config import ServerModels
from serving.model_server.rest_server import RestServer
from serving.model_server.session import SessionOptions
from serving.model_server.text_protos import read_batching, read_metrics_path, read_tls
from serving.model_server.tokens import TokenFile

UNLOAD_SECONDS = 5.0
"""How long models may take to unload once no request is under way any more."""

_log = logging.getLogger(__name__)


class ModelServer:
    """Serves models as TensorFlow Serving does with these flags.

    Args:
        flags: the flags.

    Raises:
        UsageError: a config file, a token or a certificate cannot be used.
    """

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        batching = read_batching(flags.batching_parameters_file) if flags.enable_batching else None
        metrics_path = ""
        if flags.monitoring_config_file:
            metrics_path = read_metrics_path(flags.monitoring_config_file, METRICS_PATH)
        tls = read_tls(flags.ssl_config_file) if flags.ssl_config_file else None
        tokens = TokenFile(Path(flags.tokens_file)) if flags.tokens_file else None
        metrics = Metrics() if metrics_path else None
        self._manager = Manager(
            _models(flags),
            load_options=LoadOptions(
                session=_session(flags),
                max_num_load_retries=flags.max_num_load_retries,
                load_retry_interval_micros=flags.load_retry_interval_micros,
                enable_model_warmup=flags.enable_model_warmup,
                num_request_iterations_for_warmup=flags.num_request_iterations_for_warmup,
                batching=batching,
            ),
            file_system_poll_wait_seconds=flags.file_system_poll_wait_seconds,
            num_load_threads=flags.num_load_threads,
            allow_version_labels_for_unavailable_models=flags.allow_version_labels_for_unavailable_models,
        )
        self._follower: ConfigFollower | None = None
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            seconds = flags.model_config_file_poll_wait_seconds
            self._follower = ConfigFollower(flags.model_config_file, self._manager, seconds)
        self._grpc = GrpcServer(
            self._manager,
            port=flags.port or None,
            address=flags.host,
            socket_path=flags.grpc_socket_path,
            access=Access(tokens=tokens, tls=tls),
            metrics=metrics,
            health=flags.enable_grpc_healthcheck_service,
            as_content=flags.enable_serialization_as_tensor_content,
            inline=batching is None,
            max_threads=flags.grpc_max_threads,
            channel_arguments=flags.grpc_channel_arguments,
        )
        self._rest: RestServer | None = None
        if flags.rest_api_port:
            self._rest = RestServer(
                self._manager,
                port=flags.rest_api_port,
                address=flags.host,
                access=Access(tokens=tokens, tls=tls if flags.rest_api_enable_ssl else None),
                metrics=metrics,
                metrics_path=metrics_path,
                cors=flags.rest_api_enable_cors_support,
                timeout_seconds=flags.rest_api_timeout_in_ms / 1000,
                num_threads=flags.rest_api_num_threads,
                inline=batching is None,
            )
        self._ended = True

    def run(self) -> bool:
        """Serves until SIGTERM or SIGINT, then finishes the requests under way. A second signal ends it at once.

        Returns:
            Whether all has ended; otherwise TensorFlow is still at work for requests that were cut off.

        Raises:
            ServingError: a model cannot be served.
            UsageError: a port is taken.
        """
        uvloop.run(serve_until_signal(load=self._load, start=self._start, stop=self._stop))
        return self._ended

    def _load(self) -> None:
        self._manager.start(wait_for_versions=True)
        self._manager.check_available(self._manager.models())

    async def _start(self) -> None:
        flags = self._flags
        if self._follower is not None:
            self._follower.start()
        await self._grpc.start()
        # TensorFlow Serving's own words: scripts wait for them.
        if flags.port:
            _log.info("Running gRPC ModelServer at %s ...", host_and_port(flags.host, self._grpc.port))
        if flags.grpc_socket_path:
            _log.info("Running gRPC ModelServer at UNIX socket %s ...", flags.grpc_socket_path)
        if self._rest is not None:
            await asyncio.to_thread(self._rest.start)
            _log.info("Exporting HTTP/REST API at:%s:%s ...", flags.host or "localhost", self._rest.port)

    async def _stop(self, grace: float) -> None:
        if self._follower is not None:
            self._follower.stop()
        closing = [self._grpc.stop(grace)]
        if self._rest is not None:
            closing.append(asyncio.to_thread(self._rest.stop, grace))
        await asyncio.gather(*closing)
        self._ended = await asyncio.to_thread(self._manager.stop, UNLOAD_SECONDS)


def _models(flags: Flags) -> ServerModels:
    if flags.model_config_file:
        return read_config(flags.model_config_file)
    _log.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
        flags.model_name,
        flags.model_base_path,
    )
    try:
        return ServerModels.single(flags.model_name, flags.model_base_path)
    except ServingError as error:
        raise UsageError(
            f"--model_name and --model_base_path must be a name and an absolute path. {error.message}",
            hint="--model_base_path=/FOLDER/OF/VERSIONS, whose sub-folders are named 1, 2, …",
        ) from error


def _session(flags: Flags) -> SessionOptions:
    intra, inter = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    if intra <= 0 and inter <= 0:
        intra = inter = flags.tensorflow_session_parallelism
    return SessionOptions(max(intra, 0), max(inter, 0), tuple(flags.saved_model_tags.split(",")))
