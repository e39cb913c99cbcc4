"""Makes the files of `dcp/`: a distributed checkpoint of two processes. It needs torch, which the tests do not.

python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy && venv/bin/python make_dcp_files.py
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

PROCESSES = 2
FOLDER = "dcp"


def save(rank: int) -> None:
    """Save what one process has: rows and columns of tensors, and what is not divided."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", RANK=str(rank), WORLD_SIZE=str(PROCESSES))
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    mesh = init_device_mesh("cpu", (PROCESSES,))
    grid = torch.arange(60, dtype=torch.float32).reshape(10, 6)
    state = {
        "model": {
            "rows": distribute_tensor(grid, mesh, [Shard(0)]),
            "columns": distribute_tensor(grid[:4].clone(), mesh, [Shard(1)]),
            "bias": distribute_tensor(torch.arange(6, dtype=torch.bfloat16), mesh, [Replicate()]),
        },
        "step": 7,
        "rng": torch.arange(5, dtype=torch.uint8),
        "loader": {"positions": [1, 2], "seen": torch.arange(3)},
    }
    dcp.save(state, checkpoint_id=FOLDER)
    dist.destroy_process_group()


def main() -> None:
    warnings.simplefilter("ignore")
    os.chdir(Path(__file__).parent)
    shutil.rmtree(FOLDER, ignore_errors=True)
    mp.spawn(save, (), PROCESSES)


if __name__ == "__main__":
    main()
