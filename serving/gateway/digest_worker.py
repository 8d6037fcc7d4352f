"""Computes model digests in a process of its own: that takes TensorFlow, which a gateway has no other need of.

`python -m serving.gateway.digest_worker FOLDER…` prints a JSON document a folder, each on a line of its own:
`{"digest": …}`, or `{"error": …}` for a folder that has none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from schema.errors import ReleaseError


def main(folders: Sequence[str]) -> None:
    """Prints the digest of each folder."""
    from serving.model_digest import model_digest

    for folder in folders:
        try:
            found = {"digest": model_digest(folder)}
        except ReleaseError as error:
            found = {"error": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
