"""How much each parameter mattered, by Optuna's PED-ANOVA.

Source: Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance
in Arbitrary Subspaces", IJCAI 2023. It asks in which parameters the best tenth of the trials is
distributed otherwise than all trials; it fits no model, and needs no scikit-learn.
"""

from __future__ import annotations

import warnings
from typing import Any

from components.tune.record import Dimension, Record


def importance(record: Record) -> dict[str, float]:
    """Return each parameter's share of what told good trials from the others; sums to 1.

    Only trials that ended with a value count; empty where all are equally good.
    """
    import optuna

    complete = [trial for trial in record.trials if trial.state == "complete"]
    if len({trial.value for trial in complete}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if record.is_maximised else "minimize")
    space = {dimension.name: _distribution(dimension) for dimension in record.space}
    for trial in complete:
        values = {d.name: _value(d, trial.parameters[d.name]) for d in record.space}
        study.add_trial(optuna.create_trial(value=trial.value, params=values, distributions=space))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.is_integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def _value(dimension: Dimension, text: str) -> Any:
    if dimension.choices:
        return text
    number = min(max(float(text), dimension.low), dimension.high)  # text has six digits
    return int(number) if dimension.is_integer else number
