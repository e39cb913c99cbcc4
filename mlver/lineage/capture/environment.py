"""Environment variables that change what a training does, and hold nothing secret: a list of what may be recorded."""

from __future__ import annotations

from collections.abc import Mapping

from mlver.lineage.capture.secrets import is_secret_name, masked, secret_values

_NAMES = frozenset(
    {
        "CONDA_DEFAULT_ENV",
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES",
        "HF_DATASETS_OFFLINE",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HIP_VISIBLE_DEVICES",
        "LANG",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MALLOC_ARENA_MAX",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NODE_RANK",
        "NUMEXPR_NUM_THREADS",
        "NVIDIA_TF32_OVERRIDE",
        "NVIDIA_VISIBLE_DEVICES",
        "OPENBLAS_NUM_THREADS",
        "PBS_JOBID",
        "PYTHONHASHSEED",
        "PYTHONOPTIMIZE",
        "PYTHONPATH",
        "RANK",
        "ROCR_VISIBLE_DEVICES",
        "TOKENIZERS_PARALLELISM",
        "TRANSFORMERS_OFFLINE",
        "TZ",
        "VECLIB_MAXIMUM_THREADS",
        "VIRTUAL_ENV",
        "WORLD_SIZE",
    }
)
_TENSORFLOW = tuple(
    f"TF_{topic}_" for topic in ("CPP", "CUDNN", "DETERMINISTIC", "ENABLE", "FORCE", "GPU", "NUM", "XLA")
)
_PREFIXES = (*_TENSORFLOW, "JAX_", "KMP_", "MKL_", "NCCL_", "OMP_", "PYTORCH_", "SLURM_", "TORCH_", "XLA_")
"""Not all of TF_: Terraform keeps secrets in TF_VAR_."""
_MAX_LENGTH = 4096
_MAX_VARIABLES = 500


def recorded_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are recorded: those on the list whose names are not those of secrets.

    Long values are cut; values that are those of a secret variable are masked wherever they stand.
    """
    secrets = secret_values(environment)
    names = sorted(name for name in environment if _is_listed(name))[:_MAX_VARIABLES]
    return {name: masked(_text(environment[name]), secrets)[:_MAX_LENGTH] for name in names}


def _is_listed(name: str) -> bool:
    return (name in _NAMES or name.startswith(_PREFIXES)) and not is_secret_name(name)


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()
