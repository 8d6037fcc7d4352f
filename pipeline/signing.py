"""What a run needs in order to sign its release, found before its graph is built."""

from __future__ import annotations

from collections.abc import Mapping

from components.pusher.signing import SigningOrder, order_key
from pipeline.identity import provenance
from schema.base import sha256_json
from schema.errors import ConfigError
from schema.loading import LoadedLine
from serving.signing.keys import key_id
from serving.signing.statement import Origin


def signing_order(loaded: LoadedLine) -> SigningOrder | None:
    """Returns how a line's releases are to be signed, or None where they are not. The key is not looked at.

    Args:
        loaded: the line config.
    """
    config = loaded.line.pusher.signing
    if config is None:
        return None
    code = provenance()
    return SigningOrder(
        origin=Origin(
            config_digest=sha256_json(loaded.line.model_dump(mode="json", by_alias=True)),
            git_commit=code.git_commit,
            git_dirty=code.git_dirty,
            git_diff_sha256=code.git_diff_sha256,
            lock_sha256=code.lock_sha256,
        ),
        key_file=None if config.key_file is None else str((loaded.base_dir / config.key_file).absolute()),
        key=config.key,
    )


def with_key_id(order: SigningOrder, loaded: LoadedLine, env: Mapping[str, str]) -> SigningOrder:
    """Returns an order with the id of its key, once the key has been read: better now than when the model is there.

    Args:
        order: the order.
        loaded: the line config, for the message.
        env: the environment.

    Raises:
        ConfigError: the key is not there, or is no key that can be used.
    """
    try:
        key = order_key(order, env)
    except ConfigError as error:
        raise ConfigError(f"{', '.join(map(str, loaded.files))}: {error.args[0]}", hint=error.hint) from None
    return order.model_copy(update={"key_id": key_id(key.public_key())})
