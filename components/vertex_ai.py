"""Vertex AI: where its API is, and its clients. By REST, so that what `--dry-run` prints is what goes over the wire."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Iterator
from typing import Any

from schema.errors import SubmissionError
from schema.orchestration import OrchestrationConfig

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
CALL_SECONDS = 60.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 20.0
_LOST_AFTER = 30
CREDENTIALS_HINT = (
    "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file"
)


class CredentialsProblem(SubmissionError):
    """There are no Google Cloud credentials, or they are not accepted."""


@dataclasses.dataclass(frozen=True)
class VertexPlace:
    """A project and region of Vertex AI.

    Attributes:
        project: the project.
        region: the region.
        api: URL of the API.
    """

    project: str
    region: str
    api: str

    @classmethod
    def of(cls, project: str, region: str, api_endpoint: str | None = None) -> VertexPlace:
        """Returns the place, its API where Google has it unless told otherwise."""
        return cls(project, region, api_endpoint or f"https://{region}-aiplatform.googleapis.com")

    @classmethod
    def of_config(cls, config: OrchestrationConfig) -> VertexPlace:
        """Returns the place that a config names; `project` and `region` must be set."""
        assert config.project is not None and config.region is not None
        return cls.of(config.project, config.region, config.api_endpoint)

    @property
    def parent(self) -> str:
        """The resource name that everything there is below."""
        return f"projects/{self.project}/locations/{self.region}"


def google_credentials() -> Any:
    """Returns Google Cloud credentials that have just been accepted.

    Raises:
        CredentialsProblem: there are none, they have expired, or their server cannot be reached.
    """
    import google.auth
    from google.auth import exceptions
    from google.auth.transport.requests import Request

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            credentials, _ = google.auth.default(scopes=[SCOPE])
        credentials.refresh(Request())
    except exceptions.DefaultCredentialsError as error:
        raise CredentialsProblem(
            f"Google Cloud credentials must be there. Got none instead: {_first_line(error)}", hint=CREDENTIALS_HINT
        ) from None
    except exceptions.GoogleAuthError as error:
        raise CredentialsProblem(
            f"Google Cloud credentials must be accepted. Got {type(error).__name__} instead: {_first_line(error)}",
            hint=CREDENTIALS_HINT,
        ) from None
    return credentials


def vertex_client(kind: str, place: VertexPlace, credentials: Any = None) -> Any:
    """Returns a client of `google.cloud.aiplatform_v1`.

    Args:
        kind: its class, e.g. `JobServiceClient`.
        place: where it asks.
        credentials: who asks; by default whom the environment says.
    """
    # It warns about each Python that it will give up some day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform_v1

        client_class = getattr(aiplatform_v1, kind)
        return client_class(transport=client_class.get_transport_class("rest")(host=place.api, credentials=credentials))


def wait_for(place: VertexPlace, name: str, seconds: float) -> dict[str, Any]:
    """Waits for the end of a long-running operation.

    The clients' own way asks below `/ui/` when they speak REST, which the API's reference does not have.

    Args:
        place: where it runs.
        name: its resource name.
        seconds: how long to wait.

    Returns:
        Its response.

    Raises:
        GoogleAPICallError: it failed, or did not end in time.
    """
    import google.auth
    import requests
    from google.api_core import exceptions
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=[SCOPE])
    deadline = time.monotonic() + seconds
    pause, lost = _FIRST_PAUSE, 0
    with AuthorizedSession(credentials) as session:
        while time.monotonic() < deadline:
            try:
                answer = session.get(f"{place.api}/v1/{name}", timeout=CALL_SECONDS)
                answer.raise_for_status()
            except requests.RequestException:
                # The operation goes on; a passing fault must not make it look like one that failed.
                lost += 1
                if lost >= _LOST_AFTER:
                    raise
            else:
                lost, operation = 0, answer.json()
                if operation.get("error"):
                    raise exceptions.from_http_status(400, str(operation["error"].get("message", operation["error"])))
                if operation.get("done"):
                    return dict(operation.get("response", {}))
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise exceptions.from_http_status(504, f"{name} has not ended after {seconds:.0f} s")


@contextlib.contextmanager
def told_as_submission_error(what: str, hint: str) -> Iterator[None]:
    """Turns errors of a Google Cloud call into ours.

    Args:
        what: what was done, e.g. `creating the custom job`.
        hint: what to do next.

    Raises:
        SubmissionError: the call failed.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except auth.GoogleAuthError as error:
        raise CredentialsProblem(f"{what} was refused: {_first_line(error)}", hint=CREDENTIALS_HINT) from None
    except (api.GoogleAPICallError, api.RetryError, requests.RequestException) as error:
        raise SubmissionError(f"{what} failed: {_first_line(error)}", hint=hint) from None


def message_of(kind: str, body: dict[str, Any]) -> Any:
    """Returns a message of `google.cloud.aiplatform_v1` from its JSON; a key that it does not know is an error."""
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format

    message_class = getattr(aiplatform_v1, kind)
    message = message_class()
    json_format.ParseDict(body, message_class.pb(message))
    return message


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]
