"""The network: any timm model, with weights from the hub, a file, S3, or none."""

from __future__ import annotations

import difflib
import logging
import pickle
import tempfile
from pathlib import Path

import huggingface_hub
import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from shared.component.errors import InputError, UsageError
from shared.component.storage import download
from shared.vision.transform_spec import TransformSpec

log = logging.getLogger(__name__)
_HUB_TIMEOUT_S = 5


class Classifier(nn.Module):
    """A timm model cut in two: features, then embedding and logits.

    forward: float32 [B, 3, S, S] -> (logits [B, classes], embedding [B, D])
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.is_frozen = False
        self._learned = frozenset(n for n, p in body.named_parameters() if p.requires_grad)

    def features(self, images: Tensor) -> Tensor:
        return self.body.forward_features(images)  # [B, C, h, w], or [B, tokens, C]

    def head(self, features: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.body.forward_head(features, pre_logits=True)  # [B, D]
        return self.body.get_classifier()(embedding), embedding

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.features(images))

    def freeze(self, is_frozen: bool) -> None:
        """Let the classifier alone learn, or all; frozen statistics and dropout stand still."""
        if is_frozen != self.is_frozen:
            self.is_frozen = is_frozen
            classifier = {id(parameter) for parameter in self.body.get_classifier().parameters()}
            for name, parameter in self.body.named_parameters():
                is_free = not is_frozen or id(parameter) in classifier
                parameter.requires_grad_(is_free and name in self._learned)
            self.body.train(not is_frozen)
        if is_frozen and self.body.training:  # a validation has set it back
            self.body.eval()


def build(model_name: str, classes: int, image_size: int, pretrained: str) -> Classifier:
    """Create a timm model for `classes` classes.

    pretrained: `hub`, `none`, or a file or s3:// location of weights.
    Raises:
        UsageError: timm has no such model, or it cannot take `image_size`.
        InputError: the weights cannot be had.
    """
    known = timm.list_models()
    if model_name.partition(".")[0] not in known:
        near = difflib.get_close_matches(model_name, known, n=3) or ["resnet18", "efficientnet_b0"]
        raise UsageError(
            f"train: timm has no model '{model_name}'; nearest: {', '.join(near)}; "
            "all: timm.list_models()"
        )
    if pretrained == "none":
        body = _create(model_name, classes, image_size)
    elif pretrained == "hub":
        _require_hub(model_name)
        body = _create(model_name, classes, image_size, pretrained=True)
    else:
        body = _from_location(pretrained, model_name, classes, image_size)
    classifier = Classifier(body)
    _check(classifier, model_name, classes, image_size)
    return classifier.train()


def transform_spec(classifier: Classifier, image_size: int) -> TransformSpec:
    """Return the preprocessing this model was made for, at `image_size`."""
    config = resolve_model_data_config(classifier.body)
    interpolation = config["interpolation"] if config["interpolation"] == "bilinear" else "bicubic"
    return TransformSpec(
        image_size=image_size,
        resize_side=image_size,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=interpolation,
    )


def _create(model_name: str, classes: int, image_size: int, **options: object) -> nn.Module:
    try:  # transformers must know their image size, convolutions refuse the argument
        return timm.create_model(model_name, num_classes=classes, img_size=image_size, **options)
    except TypeError:
        return timm.create_model(model_name, num_classes=classes, **options)


def _require_hub(model_name: str) -> None:
    """Fail at once, not after five slow retries, where the hub is out of reach."""
    config = timm.get_pretrained_cfg(model_name)
    if config is None or not config.has_weights:
        raise UsageError(
            f"train: timm has no pretrained weights for '{model_name}'; set pretrained to none "
            "(PretrainedWeights=none) or name a file"
        )
    cached = huggingface_hub.try_to_load_from_cache(config.hf_hub_id or "", "model.safetensors")
    if isinstance(cached, str):
        return
    endpoint = huggingface_hub.constants.ENDPOINT
    try:
        huggingface_hub.utils.get_session().head(endpoint, timeout=_HUB_TIMEOUT_S)
    except OSError as err:  # what requests' errors are
        raise InputError(
            f"train: pretrained weights of '{model_name}' are not to be had: {endpoint} does not "
            "answer; set PretrainedWeights to a file or s3:// location, or to none for a random "
            "start"
        ) from err


def _from_location(location: str, model_name: str, classes: int, image_size: int) -> nn.Module:
    with tempfile.TemporaryDirectory() as scratch:
        path = download(location, Path(scratch))
        overlay = {"file": str(path), "hf_hub_id": None, "url": ""}
        options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                body = _create(model_name, classes, image_size, **options)
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as err:
            reason = str(err).partition("\n")[0]
            raise InputError(
                f"train: {location} holds no weights of '{model_name}': {reason}"
            ) from err
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untouched = _equal_weights(body, _create(model_name, classes, image_size))
    if untouched:  # timm only logs what it did not find
        raise InputError(
            f"train: {location} holds no weights of '{model_name}': {len(untouched)} of its "
            f"tensors are not in the file, for example {untouched[0]}"
        )
    log.info("weights of %s from %s", model_name, location)
    return body


def _equal_weights(one: nn.Module, other: nn.Module) -> list[str]:
    """Name the weight matrices of the body, not of its classifier, that are the same in both."""
    state, classifier = other.state_dict(), id(other.get_classifier())
    heads = tuple(n for n, module in other.named_modules() if id(module) == classifier)
    return [
        name
        for name, value in one.state_dict().items()
        if value.dim() > 1 and not name.startswith(heads) and torch.equal(value, state[name])
    ]


@torch.inference_mode()
def _check(classifier: Classifier, model_name: str, classes: int, image_size: int) -> None:
    """See that the model answers, and that the two halves are the whole."""
    classifier.eval()
    images = torch.zeros(2, 3, image_size, image_size)
    try:
        whole = classifier.body(images)
        logits, _ = classifier(images)
    except (RuntimeError, AssertionError, AttributeError, TypeError) as err:
        reason = str(err).partition("\n")[0] or type(err).__name__
        raise UsageError(
            f"train: '{model_name}' does not work at {image_size} pixels: {reason}; choose another "
            "ImageSize or Model"
        ) from err
    if logits.shape != (2, classes) or not torch.allclose(whole, logits, atol=1e-4):
        raise UsageError(
            f"train: '{model_name}' has a head this system cannot take apart; choose another model"
        )
