"""What the host reads from its environment, in one table.

variable                    default                          meaning
VISIONLOOP_HOME             .visionloop                      all that the local backend keeps
VISIONLOOP_BUCKET           sagemaker-<region>-<account>     bucket of artifacts
VISIONLOOP_PROJECT          visionloop                       tag of what is made on AWS
VISIONLOOP_ROLE             a placeholder offline            execution role of jobs and pipeline
VISIONLOOP_IMAGE_REGISTRY   <account>.dkr.ecr.<region>...    registry of component images
VISIONLOOP_INFERENCE_IMAGE  components/inference's image     image of the endpoint
VISIONLOOP_JOB_MEMORY       no limit                         memory of a job's container: 8g
VISIONLOOP_MAX_COST         50                               USD a SageMaker run may cost, or inf
VISIONLOOP_DEFAULTS         defaults.yaml in the repository  defaults that a search has found
MLFLOW_TRACKING_URI         none: TensorBoard only           MLflow that trainings report to
MLFLOW_EXPERIMENT_NAME      the pipeline's name              experiment, and its model with versions
AWS_REGION                  AWS_DEFAULT_REGION or us-east-1  region

Without an account the placeholder 000000000000 stands in, so that a definition is
made offline; before anything is sent to AWS `for_account` puts in the real one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shared.pipeline.defaults import FILE
from shared.pipeline.errors import SettingsError

NO_ACCOUNT = "000000000000"
SEARCH_SUFFIX = "-tune"  # of a pipeline's name: the search for its defaults
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    """One process's settings; empty means: derive it from account and region.

    root: the repository; its `components/` folder holds the components.
    """

    home: Path = Path(".visionloop")
    region: str = "us-east-1"
    account: str = NO_ACCOUNT
    project: str = "visionloop"
    explicit_bucket: str = ""
    explicit_role: str = ""
    explicit_registry: str = ""
    explicit_inference_image: str = ""
    explicit_defaults: str = ""
    tracking_uri: str = ""
    experiment: str = ""
    job_memory: str = ""
    # About six times what the pipeline's defaults come to with every job at its limit.
    max_cost: str = "50"
    root: Path = REPOSITORY

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] = os.environ, root: Path = REPOSITORY
    ) -> Settings:
        return cls(
            home=Path(environ.get("VISIONLOOP_HOME", ".visionloop")).absolute(),
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            project=environ.get("VISIONLOOP_PROJECT", "") or "visionloop",
            explicit_bucket=environ.get("VISIONLOOP_BUCKET", ""),
            explicit_role=environ.get("VISIONLOOP_ROLE", ""),
            explicit_registry=environ.get("VISIONLOOP_IMAGE_REGISTRY", ""),
            explicit_inference_image=environ.get("VISIONLOOP_INFERENCE_IMAGE", ""),
            explicit_defaults=environ.get("VISIONLOOP_DEFAULTS", ""),
            tracking_uri=_in_full(environ.get("MLFLOW_TRACKING_URI", "")),
            experiment=environ.get("MLFLOW_EXPERIMENT_NAME", ""),
            job_memory=environ.get("VISIONLOOP_JOB_MEMORY", ""),
            max_cost=environ.get("VISIONLOOP_MAX_COST") or "50",
            root=root,
        )

    @property
    def bucket(self) -> str:
        return self.explicit_bucket or f"sagemaker-{self.region}-{self.account}"

    @property
    def role(self) -> str:
        return self.explicit_role or f"arn:aws:iam::{self.account}:role/visionloop"

    @property
    def registry(self) -> str:
        return self.explicit_registry or f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    @property
    def defaults_file(self) -> Path:
        return (
            Path(self.explicit_defaults).absolute() if self.explicit_defaults else self.root / FILE
        )

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of what is called `name`: project, and stage for PROJECT-STAGE.

        By them `python -m ci cleanup` knows what is ours.
        """
        problem = name.removesuffix(SEARCH_SUFFIX)
        stage = problem.removeprefix(f"{self.project}-")
        tags = {"project": self.project, "managed-by": "visionloop"}
        return tags if stage == problem else tags | {"stage": stage}

    def for_account(self, account: str) -> Settings:
        """Return the settings for a real account.

        Raises:
            SettingsError: no execution role is named.
        """
        if not self.explicit_role:
            raise SettingsError(
                "sagemaker: no execution role; set VISIONLOOP_ROLE to the ARN of a role that "
                "SageMaker may assume, or run with --backend local"
            )
        return replace(self, account=account)


def _in_full(address: str) -> str:
    """Name a database of this machine by its whole path: a job runs in a folder of its own."""
    kind, _, path = address.partition(":///")
    return f"{kind}:///{Path(path).absolute()}" if kind == "sqlite" else address
