"""What a merge costs: seconds and memory of `python -m components.labeling merge`.

The annotations have the size and the fields of Label Studio's; a quarter of the images is
labelled by two people, each of whom errs now and then. The goals are 5,000 annotations in
10 s and 500 MB for 100,000. Through moto, moto is the limit: it answers in one Python
process, so that a plain reading of the same objects is measured beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ci.problems import REPOSITORY
from shared.component.object_store import ObjectStore, open_store
from shared.component.review_queue import LOW_CONFIDENCE, ReviewTask, image_key, task_key

_QUEUE, _ANNOTATIONS = "s3://capture/endpoint", "s3://data/annotations"
_LABELS, _REPORT = "s3://data/labels", "s3://data/report"
_CLASSES = tuple(f"class {number}" for number in range(6))
_SIZES = (5_000, 100_000)
_MOTO_SIZE = 5_000
_WRITERS = 8
_OVERLAP = 4  # every so many-th image is labelled twice
_DAY_S = 86400.0
_NOISE = 0.05  # answers that are wrong
_PLAIN = """
import json, sys, time
from components.labeling.read_before import in_parallel
from shared.component.object_store import open_store
started = time.perf_counter()
for place, prefix in ((sys.argv[1], ""), (sys.argv[2], "review/tasks/")):
    store = open_store(place)
    for _ in in_parallel(store.get, (entry.key for entry in store.list(prefix))):
        pass
print(time.perf_counter() - started)
"""

_MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""


def measure() -> dict[str, Any]:
    """Merge in child processes, from folders and from moto."""
    found: dict[str, Any] = {"goal_s_for_5000": 10, "goal_peak_mb_for_100000": 500}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for size in _SIZES:
            root = Path(name, str(size))
            environ = {**os.environ, "VISIONLOOP_S3_ROOT": str(root)}
            queue = open_store(str(root / "capture/endpoint"))
            fill(queue, open_store(str(root / "data/annotations")), size)
            found[f"folder_{size}"] = {"first": _merge(environ), "nothing_new": _merge(environ)}
    found[f"moto_{_MOTO_SIZE}"] = _from_moto(_MOTO_SIZE)
    return found


def fill(queue: ObjectStore, annotations: ObjectStore, size: int) -> None:
    """Write so many annotations, and the tasks of their images."""
    with ThreadPoolExecutor(_WRITERS) as writers:
        for _ in writers.map(lambda put: put(), _puts(queue, annotations, size)):
            pass


def _puts(queue: ObjectStore, annotations: ObjectStore, size: int) -> Iterator[Callable[[], None]]:
    chance = random.Random(1)  # noqa: S311 - repeatable data
    number = 0
    for image in range(size):
        label = chance.choice(_CLASSES)
        task = _task(image, label)
        yield partial(queue.put, task_key(task.sha256), task.encode())
        for who in range(1 if image % _OVERLAP else 2):
            said = label if chance.random() > _NOISE else chance.choice(_CLASSES)
            number += 1
            origin = "prediction" if said == label else "prediction-changed"
            body = json.dumps(_body(number, task.image, said, origin, 1 + (image + who) % 5))
            yield partial(annotations.put, str(number), body.encode())
            if number == size:
                return


def _task(image: int, label: str) -> ReviewTask:
    digest = hashlib.sha256(str(image).encode()).hexdigest()
    return ReviewTask(
        image=f"{image_key(digest)}.jpg",
        model_version="model-package/1",
        label=label,
        confidence=0.5,
        labels=_CLASSES,
        probabilities=(0.5, 0.1, 0.1, 0.1, 0.1, 0.1),
        reasons=(LOW_CONFIDENCE,),
        request_id=digest[:32],
        time=20_000 * _DAY_S + image * 60,
    )


def _body(number: int, key: str, label: str, origin: str, who: int) -> dict[str, Any]:
    region = {
        "value": {"choices": [label]},
        "id": "suggestion",
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "origin": origin,
        "score": 0.5,
    }
    when = f"2026-01-01T00:00:00.{number % 1_000_000:06d}Z"
    empty = dict.fromkeys(("draft_created_at", "import_id", "last_action", "parent_annotation"))
    return {
        "id": number,
        "result": [region],
        "created_username": f" person{who}@example.com, {who}",
        "created_ago": "0 minutes",
        "completed_by": {"id": who, "first_name": "", "last_name": "", "email": "p@example.com"},
        "task": {
            "id": number,
            "data": {"image": f"{_QUEUE}/{key}"},
            "meta": {},
            "created_at": when,
            "updated_at": when,
            "is_labeled": True,
            "overlap": 2,
            "inner_id": number,
            "total_annotations": 1,
            "total_predictions": 1,
            "comment_authors": [],
            "project": 1,
        },
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": when,
        "updated_at": when,
        "lead_time": 1.5,
        "project": 1,
        "parent_prediction": number,
        **empty,
    }


def _merge(environ: dict[str, str]) -> dict[str, Any]:
    """Run the command and return what it took; peak_mb: resident, of its process alone."""
    command = [sys.executable, "-m", "components.labeling", "merge", "--queue", _QUEUE]
    command += ["--annotations", _ANNOTATIONS, "--labels", _LABELS, "--report", _REPORT]
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE)
    with child:
        said = child.stderr.read() if child.stderr else b""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if child.returncode:
        sys.stderr.buffer.write(said)
        raise subprocess.CalledProcessError(child.returncode, command)
    return {"seconds": round(seconds, 1), **_usage(usage)}


def _usage(usage: resource.struct_rusage) -> dict[str, float]:
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"cpu_s": round(cpu_s, 1), "peak_mb": round(usage.ru_maxrss / 1024)}


def _from_moto(size: int) -> dict[str, Any]:
    with _moto() as address:
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "VISIONLOOP_"))},
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = _client(address)
        for bucket in ("capture", "data"):
            client.create_bucket(Bucket=bucket)
        fill(open_store(_QUEUE, client), open_store(_ANNOTATIONS, client), size)
        plain = subprocess.run(
            [sys.executable, "-c", _PLAIN, _ANNOTATIONS, _QUEUE],
            cwd=REPOSITORY,
            env=environ,
            check=True,
            capture_output=True,
        )
        return {
            "first": _merge(environ),
            "nothing_new": _merge(environ),
            "plain_reading_s": round(float(plain.stdout), 1),
        }


@contextmanager
def _moto() -> Iterator[str]:
    """Start moto in a process of its own, and give its address."""
    command = [sys.executable, "-c", _MOTO]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with server:
        address = server.stdout.readline().strip() if server.stdout else ""
        yield address
        if server.stdin:
            server.stdin.close()


def _client(address: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        "us-east-1",
        endpoint_url=address,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106 - moto's
    )
