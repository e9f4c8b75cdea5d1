"""What runs the forward: TorchScript, the reference, or ONNX Runtime, faster on a CPU.

Both answer float32 [B, 3, S, S] with (logits [B, classes], embeddings [B, D]).
Each library is imported where it is used, so that serving with ONNX loads no torch.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from shared.vision.bundle import Bundle
from shared.vision.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime
    import torch

Array = npt.NDArray[np.float32]
Answer = tuple[Array, Array]
NAMES = ("torchscript", "onnx", "auto")


class Engine(Protocol):
    """Runs the network of one bundle, always in evaluation mode.

    is_channels_last: how it likes its images to lie in memory; it takes the other, too.
    """

    name: str
    is_channels_last: bool

    def forward(self, images: Array) -> Answer:
        """Answer for a batch.

        images: float32 [B, 3, S, S], normalised, any B.
        Returns: logits float32 [B, classes] and embeddings float32 [B, D].
        """
        ...


class TorchScriptEngine:
    """model.ts on a CPU or a GPU.

    module: the script module that answers.
    """

    name = "torchscript"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        threads: int | None = None,
        is_frozen: bool = False,
    ) -> None:
        """Load the script and see that its answer fits bundle.json.

        threads: of the whole process, where torch keeps the number; None: leave them.
        is_frozen: make weights constants, channels last: faster, but the module then has
            no parameters to read or change.
        Raises:
            BundleError: no TorchScript, its answer does not fit bundle.json, or the device is
                not there.
        """
        import torch

        from shared.vision.script import load_script

        if threads is not None:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        if self.device.type == "cuda":
            if not torch.cuda.is_available():
                raise BundleError(
                    f"predictor: torch {torch.__version__} finds no GPU that it can use; "
                    "install a driver that fits it, or take the cpu"
                )
            # Convolutions would take TF32, whose 10 bits of mantissa miss every parity stated.
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self.module: torch.jit.ScriptModule = load_script(bundle.script, self.device)
        self.is_channels_last = is_frozen
        self._layout = torch.channels_last if is_frozen else torch.contiguous_format
        if is_frozen:
            laid_out = self.module.to(memory_format=self._layout)  # type: ignore[call-overload]
            self.module = torch.jit.freeze(laid_out)
        _check_answer(self, bundle)

    def forward(self, images: Array) -> Answer:
        import torch

        # A frozen module has lost the mode; freezing takes evaluation mode only.
        if getattr(self.module, "training", False):
            raise BundleError("predictor: the model is in training mode; call eval()")
        batch = torch.from_numpy(images).to(self.device, memory_format=self._layout)
        with torch.inference_mode():
            logits, embeddings = (part.float().cpu().numpy() for part in self.module(batch))
        return logits, embeddings


class OnnxEngine:
    """model.onnx on a CPU."""

    name = "onnx"
    is_channels_last = False

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Load the network and see that its answer fits bundle.json.

        threads: within one forward; None: OMP_NUM_THREADS, or all cores.
        Raises:
            BundleError: no model.onnx with proven parity, it is damaged, its answer does
                not fit bundle.json, or ONNX Runtime is not installed.
        """
        if bundle.onnx is None:
            raise BundleError(
                f"bundle: no model.onnx with proven parity in {bundle.folder}; "
                "choose engine torchscript, or train again with a model that exports"
            )
        self._session = open_session(bundle.onnx, threads)
        _check_answer(self, bundle)

    def forward(self, images: Array) -> Answer:
        logits, embeddings = self._session.run(["logits", "embeddings"], {"images": images})
        return logits, embeddings


def open_engine(
    bundle: Bundle,
    name: str = "torchscript",
    device: str = "cpu",
    threads: int | None = None,
    is_frozen: bool = False,
) -> Engine:
    """Open one engine for a bundle.

    name: torchscript, onnx, or auto: ONNX where the bundle has it with proven parity, the
        device is a CPU and ONNX Runtime is installed; else TorchScript.
    threads, is_frozen: as the engines take them; is_frozen concerns TorchScript.
    Raises:
        BundleError: the bundle is unfit for the engine asked for.
    """
    if name not in NAMES:
        raise BundleError(f"predictor: no engine {name!r}; choose one of {', '.join(NAMES)}")
    if name == "onnx" and device != "cpu":
        raise BundleError(
            f"predictor: the onnx engine runs on the cpu, not on {device}; choose torchscript"
        )
    if name == "onnx" or (name == "auto" and _prefers_onnx(bundle, device)):
        return OnnxEngine(bundle, threads)
    return TorchScriptEngine(bundle, device, threads, is_frozen)


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Load an ONNX file for a CPU.

    threads: as OnnxEngine takes them. With 1 no thread is started, so the process may fork.
    Raises:
        BundleError: ONNX Runtime is not installed or cannot read the file.
    """
    # Official builds report to Microsoft over HTTPS, from a thread begun by the import
    # (onnxruntime/Privacy.md): an endpoint calls nobody, and a process with threads may not fork.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states
    except ImportError as err:
        raise BundleError(
            "predictor: onnxruntime is not installed; choose engine torchscript or install it"
        ) from err

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _thread_count()
    options.inter_op_num_threads = 1  # these networks are chains: nothing runs side by side
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A waiting thread that spins takes the core from the other workers of the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; what concerns us is raised
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except (
        states.Fail,
        states.InvalidArgument,
        states.InvalidGraph,
        states.InvalidProtobuf,
        states.NoSuchFile,
        states.NotImplemented,
        states.RuntimeException,
    ) as err:
        raise BundleError(
            f"bundle: {path} is no ONNX that onnxruntime {onnxruntime.__version__} reads: "
            f"{str(err).splitlines()[0]}"
        ) from err


def _prefers_onnx(bundle: Bundle, device: str) -> bool:
    is_installed = importlib.util.find_spec("onnxruntime") is not None
    return bundle.onnx is not None and device == "cpu" and is_installed


def _thread_count() -> int:
    """Return OMP_NUM_THREADS, else the cores this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0))


def _check_answer(engine: Engine, bundle: Bundle) -> None:
    """Ask once and compare with bundle.json.

    Raises:
        BundleError: other classes or another embedding size than bundle.json names.
    """
    size, classes = bundle.info.transform.image_size, len(bundle.info.classes)
    logits, embeddings = engine.forward(np.zeros((1, 3, size, size), dtype=np.float32))
    if logits.shape != (1, classes):
        raise BundleError(
            f"bundle: the model answers with {logits.shape[-1]} classes, "
            f"bundle.json names {classes}; train again"
        )
    if embeddings.shape != (1, bundle.info.embedding_size):
        raise BundleError(
            f"bundle: the model's embedding has shape {embeddings.shape[1:]}, "
            f"bundle.json names {bundle.info.embedding_size} numbers; train again"
        )
