"""Whether plans may be kept in a folder. A plan is code that runs on your GPU: nobody else may put one there."""

import os
import stat
from pathlib import Path

from labkit.tensorrt.errors import CacheError


def private_folder(path: str | Path) -> Path:
    """The folder, made with mode 700 where it is missing; raises CacheError where others can write to it."""
    path = Path(path).expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(f"plans cannot be kept in {path}: {error.strerror}") from error
    check_private(path)
    return path


def check_private(path: Path) -> None:
    """Raises CacheError when another user can put a file into the folder, or put another folder in its place."""
    if not hasattr(os, "getuid"):  # Windows keeps its rights elsewhere
        return
    try:
        path = path.resolve(strict=True)
        _check_own(path)
        for above in path.parents:
            _check_above(above, path)
    except FileNotFoundError as error:
        raise CacheError(f"the folder of plans {path} is no longer there") from error
    except OSError as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"who may write to {path} cannot be found out: {error.strerror}") from error


def _check_own(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.getuid():
        raise CacheError(f"{path} belongs to another user, who could put plans there: use a folder of your own")
    if others := status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "everybody" if others & stat.S_IWOTH else "its group"
        raise CacheError(
            f"{path} can be written to by {who} (mode {stat.S_IMODE(status.st_mode):o}), and plans are code: "
            f"chmod go-w {path}, or use a folder of your own"
        )


def _check_above(above: Path, path: Path) -> None:
    # In a folder with the sticky bit (/tmp) only the owner can rename what is his.
    mode = above.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise CacheError(
            f"{above} can be written to by everybody (mode {stat.S_IMODE(mode):o}), who could put another folder in "
            f"the place of {path}: chmod o-w {above}, or keep plans elsewhere"
        )
