"""3Dmol.js, which draws molecules in 3D in a browser: fetched at set-up and kept by JupyterLab.

It comes from npm (through the `npm` command, which knows about mirrors, or else from the registry's
address) or from its public address, and only with the expected SHA-256. Beside it lies an extension
of twenty lines that loads it when JupyterLab starts, so that unchanged ``py3Dmol.view()`` works
without a network. 3Dmol.js: N. Rego & D. Koes, Bioinformatics 31, 1322 (2015), BSD-3-Clause.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

VERSION = "2.5.5"
SCRIPT = "3Dmol-min.js"
SHA256 = {
    SCRIPT: "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016",
    "LICENSE": "4c6eaaed856f3f28a3b1a98e74f4a8a71618de7d51ea4155c29f6f793bcef861",
}
REGISTRY = f"https://registry.npmjs.org/3dmol/-/3dmol-{VERSION}.tgz"
PUBLIC = f"https://cdn.jsdelivr.net/npm/3dmol@{VERSION}"
PACKED = {SCRIPT: f"build/{SCRIPT}", "LICENSE": "LICENSE"}  # where the package has them
EXTENSION = "molnb-3dmol"
SOURCE = Path(__file__).with_name("labextension")
HOW_TO = "python -m molnb setup-viewer"
TIMEOUT_SECONDS = 30
_FETCH_ERRORS = (OSError, KeyError, ValueError, subprocess.SubprocessError, tarfile.TarError)


def find_viewer() -> Path | None:
    """3Dmol.js where set-up put it, or None."""
    for folder in _extension_folders():
        script = folder / EXTENSION / "static" / SCRIPT
        if script.is_file():
            return script
    return None


def _extension_folders() -> list[Path]:
    """Where JupyterLab looks for extensions: of this environment first, then of the user."""
    folders = [Path(sys.prefix, "share", "jupyter", "labextensions")]
    try:
        from jupyter_core.paths import jupyter_data_dir
    except ImportError:
        return folders
    return [*folders, Path(jupyter_data_dir(), "labextensions")]


def install_viewer() -> Path:
    """Put 3Dmol.js and the extension where JupyterLab finds them; returns the script.

    What is there already, and undamaged, is kept. Raises InputError, with the error of each source,
    where none of them answers: everything else works without it, molecules are then drawn.
    """
    script = find_viewer()
    if script and _digest(script.read_bytes()) == SHA256[SCRIPT]:
        _copy_extension(script.parent.parent)
        return script
    sources = {
        "npm": _from_npm,
        "registry.npmjs.org": _from_registry,
        "cdn.jsdelivr.net": _from_public,
    }
    errors = []
    for name, fetch in sources.items():
        try:
            return _write(fetch())
        except _FETCH_ERRORS as error:
            errors.append(f"{name}: {' '.join(str(error).split())[:80]}")
    raise InputError(
        f"3Dmol.js {VERSION} could not be fetched ({'; '.join(errors)}). "
        f"Molecules will be drawn, not turnable; with a network run: {HOW_TO}"
    )


def _from_npm() -> dict[str, bytes]:
    """Script and licence through the npm command, which follows the user's registry and proxy."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [
            npm,
            "pack",
            f"3dmol@{VERSION}",
            "--silent",
            "--fetch-retries=0",
            f"--pack-destination={folder}",
        ]
        subprocess.run(
            command, check=True, capture_output=True, timeout=2 * TIMEOUT_SECONDS, cwd=folder
        )
        archive = next(Path(folder).glob("*.tgz"), Path(folder, "nothing.tgz"))
        return _unpacked(archive.read_bytes())


def _from_registry() -> dict[str, bytes]:
    return _unpacked(_get(REGISTRY))


def _from_public() -> dict[str, bytes]:
    return {name: _get(f"{PUBLIC}/{path}") for name, path in PACKED.items()}


def _get(url: str) -> bytes:
    # Only https addresses that stand above.
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
        return response.read()


def _unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        return {
            name: package.extractfile(f"package/{path}").read() for name, path in PACKED.items()
        }


def _write(files: dict[str, bytes]) -> Path:
    """Put fetched files and the extension into the first folder that can be written.

    Raises ValueError where a file has not the expected SHA-256.
    """
    for name, content in files.items():
        if _digest(content) != SHA256[name]:
            raise ValueError(
                f"{name} has SHA-256 {_digest(content)[:12]}..., expected {SHA256[name][:12]}..."
            )
    for folder in _writable(_extension_folders()):
        static = folder / EXTENSION / "static"
        _copy_extension(static.parent)
        for name, content in reversed(files.items()):  # the script last: where it is, everything is
            partial = static / f".{name}.{os.getpid()}"
            partial.write_bytes(content)
            partial.replace(static / name)
        return static / SCRIPT
    raise OSError("no folder for JupyterLab extensions can be written")


def _writable(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            yield folder


def _copy_extension(folder: Path) -> None:
    # Where an administrator owns the folder, the extension came with the script.
    with contextlib.suppress(PermissionError):
        shutil.copytree(SOURCE, folder, dirs_exist_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
