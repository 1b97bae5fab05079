"""Pack onnxruntime-web into the live page, or compare what is packed with npm's files.

    npm ci --ignore-scripts
    python -m data_scripts.vendor_runtime            # write book/_static/try/runtime/
    python -m data_scripts.vendor_runtime --check    # compare, write nothing

``package.json`` and ``package-lock.json`` pin the version and npm's hash of the package. The packed
files are committed, so that a reader who builds the book needs Python and nothing else.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from data_scripts.shared.assets import TRY, pack, unpack
from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

PACKAGE = ROOT / "node_modules" / "onnxruntime-web"
RUNTIME = TRY / "runtime"
FILES = {  # name in the page -> file of the package
    "ort": "ort.wasm.min.js",
    "ort_loader": "ort-wasm-simd-threaded.mjs",
    "ort_wasm": "ort-wasm-simd-threaded.wasm",
}


def write(package: Path = PACKAGE, folder: Path = RUNTIME) -> dict:
    """Pack the three files and write ``manifest.json`` beside them."""
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    manifest = {
        "package": "onnxruntime-web",
        "version": version,
        "license": "MIT",
        "files": {
            name: {"source": f"dist/{file}"}
            | pack(name, (package / "dist" / file).read_bytes(), folder / f"{name}.js")
            for name, file in FILES.items()
        },
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def differences(package: Path | None = PACKAGE, folder: Path = RUNTIME) -> list[str]:
    """What is wrong with the packed files: empty when they are the manifest's and npm's.

    ``package=None`` compares with the manifest alone, which needs no npm.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = []
    if package is not None:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        if version != manifest["version"]:
            found.append(f"expected onnxruntime-web {manifest['version']}, npm has {version}")
    for name, file in FILES.items():
        content = unpack(folder / f"{name}.js")
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
            found.append(f"{name}.js holds other bytes than the manifest says")
        if package is not None and content != (package / "dist" / file).read_bytes():
            found.append(f"{name}.js holds other bytes than npm's dist/{file}")
    return found


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    if not PACKAGE.is_dir():
        parser.error(f"no {PACKAGE}; run: npm ci --ignore-scripts")
    if arguments.check:
        found = differences()
        print("\n".join(found) or "the packed runtime is npm's")
        sys.exit(bool(found))
    for name, entry in write()["files"].items():
        print(f"{name}: {entry['bytes']:,} bytes, {entry['script_bytes']:,} packed")


if __name__ == "__main__":
    main()
