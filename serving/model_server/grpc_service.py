"""PredictionService and ModelService: what gRPC asks for the handler of each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from serving.model_server.access import Access
from serving.model_server.gathering import Gatherer
from serving.model_server.grpc_call import Call, ManagementCall
from serving.model_server.grpc_calls import METHODS, Inference
from serving.model_server.grpc_inference import InferenceCall
from serving.model_server.hooks import Entrypoint, Hooks, NoHooks
from serving.model_server.pace import Pace
from serving.model_server.predict_plan import Plans
from serving.model_server.request_id import RequestIds

if TYPE_CHECKING:
    from serving.model_server.manager import Manager
    from serving.model_server.metrics import Metrics


class GrpcService(grpc.GenericRpcHandler):
    """All methods of PredictionService and ModelService.

    Args:
        manager: where the models are.
        access: who may call, and how much.
        hooks: what is called around each prediction.
        metrics: where requests are counted, or None.
        executor: the threads.
        pace: which requests run in the loop.
        as_content: Predict answers in `tensor_content`.
        gather: requests that are there at the same moment run as one.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        access: Access,
        hooks: Hooks,
        metrics: Metrics | None,
        executor: Executor,
        pace: Pace,
        as_content: bool = False,
        gather: bool = False,
    ) -> None:
        self.manager = manager
        self.access = access
        self.hooks: Hooks | None = None if type(hooks) is NoHooks else hooks
        self.metrics = metrics
        self.executor = executor
        self.pace = pace
        self.as_content = as_content
        self.gatherer = Gatherer(pace) if gather else None
        self.check_rows = access.check_rows if access.limits.batch_rows is not None else None
        self.request_ids = RequestIds()
        self.plans = Plans()
        # Kept only where something looks at it.
        self.under_way: dict[Call, asyncio.Task[Any] | None] | None = {} if access.limits.request_seconds else None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Call | None:
        """Returns what answers a request, or None for an unknown method."""
        method = METHODS.get(handler_call_details.method)
        if method is None:
            return None
        if isinstance(method, Inference):
            return InferenceCall(self, method, handler_call_details.invocation_metadata)
        return ManagementCall(self, method, handler_call_details.invocation_metadata)

    def observe_run(self, entrypoint: Entrypoint, model: str) -> Callable[[float], None] | None:
        """Returns what is told the seconds that TensorFlow takes for a request, if anything is."""
        metrics = self.metrics
        if metrics is None or entrypoint == "MultiInference":
            return None
        return lambda seconds: metrics.runtime(model, entrypoint, seconds)

    async def watch_clock(self) -> NoReturn:
        """Ends the requests that take longer than they may, for ever."""
        limit = self.access.limits.request_seconds
        assert limit is not None and self.under_way is not None
        while True:
            await asyncio.sleep(min(limit / 4, 1))
            latest = time.perf_counter() - limit
            for call, task in list(self.under_way.items()):
                if call.clock < latest and not call.overdue and task is not None:
                    call.overdue = True
                    task.cancel()
