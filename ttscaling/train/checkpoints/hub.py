"""Find the folder of a checkpoint that is named by its folder or by its name on the hub."""

import os
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

# Weights in the one format that is read here, and all small files but code.
_PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def checkpoint_folder(
    checkpoint: str, *, weights: bool = True, endpoint: str | None = None, cache: Path | None = None
) -> Path:
    """Return the folder of a checkpoint. One from the hub is downloaded into the hub's cache first.

    A folder that exists is taken before a name on the hub, as the server does. Several processes of a machine
    may call this at the same time, because the hub's library locks what it writes.

    Args:
        checkpoint: a folder, or a name like `OpenGVLab/InternVL3-8B`.
        weights: whether the weights are needed, too.
        endpoint: address of the hub; None means that of the environment (`HF_ENDPOINT`).
        cache: folder of the downloads; None means that of the environment (`HF_HOME`).

    Raises:
        ValueError: there is no such folder, and the hub has no such checkpoint or can't be reached.
        OSError: the download can't be written.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", checkpoint):
        raise ValueError(
            f"there is no folder {checkpoint}: name the folder of a checkpoint (with its config.json), or a "
            "checkpoint on the hub, like OpenGVLab/InternVL3-8B"
        )
    if os.environ.get("RANK", "0") != "0":
        disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                checkpoint,
                allow_patterns=list(_PATTERNS[0 if weights else 1 :]),
                endpoint=endpoint,
                cache_dir=cache,
            )
        )
    except HfHubHTTPError as error:
        raise ValueError(
            f"there is no folder {checkpoint}, and the hub has no checkpoint of this name that you may read "
            f"({type(error).__name__}): correct the name, or log in with `hf auth login`"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"there is no folder {checkpoint}, and the hub can't be reached to look for a checkpoint of this "
            f"name ({str(error).splitlines()[0]}): correct the path, or the connection"
        ) from error
