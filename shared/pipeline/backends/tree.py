"""Lay out the /opt/ml tree of a job's instances, as SageMaker does before it starts them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from shared.component.files import write_json
from shared.component.layout import Layout
from shared.pipeline.backends.cache import (
    input_sources,
    instance_count,
    output_uris,
    parameters,
)
from shared.pipeline.backends.launcher import Job, Mount, Tree
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import DefinitionError

Json = dict[str, Any]


def lay_out(job: Job, store: Store) -> list[Tree]:
    """Return a new tree for each instance of the job, below `job.folder / "ml"`.

    Raises:
        DefinitionError: an input is not in the store.
    """
    shutil.rmtree(job.folder / "ml", ignore_errors=True)
    hosts = [f"algo-{number}" for number in range(1, instance_count(job.request) + 1)]
    trees = []
    for index, host in enumerate(hosts):
        layout = Layout((job.folder / "ml" / host).absolute())
        _write_configs(job, layout, host, hosts)
        mounts: list[Mount] = []
        for name, source in input_sources(job.request).items():
            target = layout.input_dir(job.spec, job.spec.input(name))
            mounts += _show(store, source, target, index, len(hosts))
        for port in job.spec.outputs.values():
            layout.output_dir(job.spec, port).mkdir(parents=True, exist_ok=True)
        job.checkpoints.mkdir(parents=True, exist_ok=True)
        mounts.append(Mount(job.checkpoints.absolute(), layout.checkpoints, is_read_only=False))
        trees.append(Tree(host, layout, tuple(mounts), store.root.absolute()))
    for uri in set(output_uris(job.request).values()) & set(_values(job)):
        # What the step reads where it writes: empty is an answer, S3 is not asked.
        store.path(uri).mkdir(parents=True, exist_ok=True)
    return trees


def _write_configs(job: Job, layout: Layout, host: str, hosts: list[str]) -> None:
    resource = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
    config = layout.base / "input" / "config"
    if not job.is_training:
        write_json(layout.base / "config" / "processingjobconfig.json", job.request)
        write_json(layout.base / "config" / "resourceconfig.json", resource)
        (layout.base / "output").mkdir(exist_ok=True)
        return
    write_json(config / "hyperparameters.json", job.request.get("HyperParameters", {}))
    write_json(config / "resourceconfig.json", resource)
    channels = {
        name: {
            "TrainingInputMode": "File",
            "S3DistributionType": source.get("S3DataDistributionType"),
        }
        for name, source in input_sources(job.request).items()
    }
    write_json(config / "inputdataconfig.json", channels)


def _show(store: Store, source: Json, target: Path, index: int, count: int) -> list[Mount]:
    """Return the mounts that show an input at `target`; link an instance's share of it there."""
    path = store.path(source["S3Uri"]).absolute()
    if not path.exists():
        raise DefinitionError(f"local: nothing at {source['S3Uri']}: {path} is missing")
    target.parent.mkdir(parents=True, exist_ok=True)
    is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key" and count > 1
    if path.is_dir() and not is_sharded:
        return [Mount(path, target)]
    target.mkdir()
    if not path.is_dir():
        return [] if index and is_sharded else [Mount(path, target / path.name)]
    # A share may be thousands of files: links, since an engine takes its time for each mount.
    for file in sorted(f for f in path.rglob("*") if f.is_file())[index::count]:
        link = target / file.relative_to(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return []


def _values(job: Job) -> list[str]:
    return list(parameters(job.spec, job.request).values())
