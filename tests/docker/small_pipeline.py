"""The first two steps of the main job on a small sample: both backends run it in seconds.

python -m tests.docker.small_pipeline --upsert --start --backend docker
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker
from docker.errors import ImageNotFound

from shared.component.spec import load_spec
from shared.pipeline import cli
from shared.pipeline.dsl import Pipeline, load_components
from shared.pipeline.images import code_hash, repository_of
from shared.pipeline.settings import REPOSITORY, Settings

SAMPLE = "sample://scenes?images=48&test=18&unlabelled=0&size=48"


def build(settings: Settings, name: str = "small") -> Pipeline:
    pipeline = Pipeline(name, load_components(settings.root / "components"))
    pipeline.parameter("TrainDataset", like="fetch_data.train", default=SAMPLE)
    raw = pipeline.task("fetch_data", train=pipeline["TrainDataset"])
    frozen = f"s3://{settings.bucket}/{name}/frozen-test"
    pipeline.task(
        "preprocess",
        raw=raw["raw"],
        annotations=raw["labels"],
        frozen_test=frozen,
        image_size=32,
        seed=3,
        locations={"frozen": frozen},
    )
    return pipeline


@contextmanager
def images_of_this_code(
    engine: docker.DockerClient, image: Callable[[str], str], *components: str
) -> Iterator[None]:
    """Let the docker backend find the images: tagged as `python -m ci build` tags them."""
    added = []
    for name in components:
        spec = load_spec(REPOSITORY / "components" / name)
        repository, tag = repository_of(spec), code_hash(spec, REPOSITORY)
        try:
            engine.images.get(f"{repository}:{tag}")
        except ImageNotFound:
            engine.images.get(image(name)).tag(repository, tag)
            added.append(f"{repository}:{tag}")
    try:
        yield
    finally:
        for name in added:
            engine.images.remove(name, noprune=True)


if __name__ == "__main__":
    raise SystemExit(cli.main(build))
