"""Is a container image there? Asked of its registry by the Docker Registry HTTP API v2 (OCI distribution)."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from pipeline.compiled.problems import Problem

CALL_SECONDS = 30.0
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_GOOGLE = re.compile(r"([a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io)")
_LOCAL = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")
KEY = "orchestration.image"


@dataclasses.dataclass(frozen=True)
class ImageName:
    """A container image's name, in parts.

    Attributes:
        host: the registry.
        repository: the repository there.
        reference: the tag or digest.
    """

    host: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, name: str) -> ImageName:
        """Returns the parts of a name, Docker's defaults filled in."""
        rest, at, digest = name.partition("@")
        host, slash, repository = rest.partition("/")
        # As Docker has it: without a dot, a port or localhost, the first part is no host.
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, repository = "registry-1.docker.io", rest if slash else f"library/{rest}"
        repository, _, tag = repository.partition(":")
        return cls(host, repository, digest if at else tag or "latest")

    @property
    def at_google(self) -> bool:
        """Whether it is in Artifact Registry or Container Registry."""
        return _GOOGLE.fullmatch(self.host) is not None

    @property
    def manifest_url(self) -> str:
        """Where its manifest is."""
        scheme = "http" if _LOCAL.fullmatch(self.host) else "https"
        return f"{scheme}://{self.host}/v2/{self.repository}/manifests/{self.reference}"


def image_problem(image: str, google_token: str | None = None) -> tuple[Problem | None, str]:
    """Looks for an image.

    Args:
        image: its name.
        google_token: an access token for Google's registries; others are asked without a name.

    Returns:
        What is wrong, or None; and why it could not be looked at, or an empty string.
    """
    import httpx

    name = ImageName.parse(image)
    try:
        with httpx.Client(timeout=CALL_SECONDS, follow_redirects=True) as client:
            answer = _head(client, name, google_token)
    except httpx.HTTPError as error:
        text = f"the registry of {image} must answer. Got {type(error).__name__}: {error} instead"
        return Problem(KEY, text, "correct the image's registry, or try again", config=False), ""
    if answer.status_code == 200:
        return None, ""
    if answer.status_code == 404:
        text = f"must be an image that is there. Got {image!r} instead: its registry has no such image"
        return Problem(KEY, text, "build and push it (deploy/Dockerfile), or correct the name"), ""
    if answer.status_code in (401, 403):
        if not name.at_google:
            return None, f"{KEY}: {name.host} does not show {image} without credentials, so it was not looked for"
        text = f"must be an image that you may read. Got {image!r} instead: HTTP {answer.status_code}"
        return Problem(KEY, text, "correct the name, or get the role artifactregistry.reader there", config=False), ""
    text = f"the registry of {image} must answer. Got HTTP {answer.status_code} instead"
    return Problem(KEY, text, "try again later", config=False), ""


def _head(client: Any, name: ImageName, google_token: str | None) -> Any:
    headers = {"Accept": _MANIFESTS}
    if name.at_google and google_token:
        # Google's registries take the access token itself.
        headers["Authorization"] = f"Bearer {google_token}"
    answer = client.head(name.manifest_url, headers=headers)
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers.get("www-authenticate", "")))
    if answer.status_code != 401 or "realm" not in challenge or "Authorization" in headers:
        return answer
    query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    query.setdefault("scope", f"repository:{name.repository}:pull")
    granted = client.get(challenge["realm"], params=query)
    if granted.status_code != 200:
        return answer
    document = granted.json()
    token = document.get("token") or document.get("access_token")
    return client.head(name.manifest_url, headers={**headers, "Authorization": f"Bearer {token}"})
