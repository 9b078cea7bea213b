"""Several processes that train together, started by torchrun."""

from __future__ import annotations

import os


def join_processes(backend: str) -> None:
    """Start torch.distributed in a worker of torchrun.

    torchrun's store outlives its workers. After a restart, a worker may read the address of a dead one from it
    (pytorch/pytorch#135712). On one machine each attempt therefore has its own prefix in the store. Several machines
    may count attempts differently; there TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 has to be set for torchrun.

    Args:
        backend: nccl or gloo.
    """
    from torch.distributed.distributed_c10d import PrefixStore, init_process_group
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    init_process_group(backend, store=store, rank=rank, world_size=world_size)


def leave_processes() -> None:
    """Wait for all processes, then end the process group of :func:`join_processes`; without one, do nothing.

    A thread of gloo may still hold tensors of the last collective. A process that ends before the thread releases them
    sometimes aborts (pytorch/pytorch#179291). Waiting for the others gives the thread time, and no process leaves
    while the first one writes.
    """
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
