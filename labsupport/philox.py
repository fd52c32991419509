"""Philox 4x64-10 on CUDA: one kernel draws for all runs. It needs Triton, PyTorch's compiler."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

PER_PROGRAM = 256
"""Positions that one program of the kernel draws from."""


def keys(of: Sequence[int], device: torch.device) -> Tensor:
    """Lay out keys of 128 bits as (R, 2) words of 64 bits, the lower one first."""
    words = [(key & 0xFFFFFFFFFFFFFFFF, key >> 64) for key in of]
    signed = [[word - (1 << 64) if word >> 63 else word for word in pair] for pair in words]
    return torch.tensor(signed, dtype=torch.int64, device=device)


def fill(out: Tensor, keys: Tensor, position: int) -> None:
    """Fill ``out``, (R, 8 * blocks) in float32, with numbers in [0, 1) from ``position`` on.

    Args:
        out: overwritten.
        keys: (R, 2), of the runs.
        position: the first block's.
    """
    runs, count = out.shape
    programs = triton.cdiv(count // 8, PER_PROGRAM)
    _fill[(programs, runs)](out, keys, position, count // 8, PER_PROGRAM=PER_PROGRAM)


@triton.jit(do_not_specialize=["position"])
def _fill(out, keys, position, blocks, PER_PROGRAM: tl.constexpr):
    run = tl.program_id(1).to(tl.int64)
    block = tl.program_id(0) * PER_PROGRAM + tl.arange(0, PER_PROGRAM)
    nothing = tl.zeros((PER_PROGRAM,), tl.uint64)
    key0 = tl.load(keys + 2 * run).to(tl.uint64, bitcast=True) + nothing
    key1 = tl.load(keys + 2 * run + 1).to(tl.uint64, bitcast=True) + nothing
    multiply0 = tl.full((PER_PROGRAM,), 0xD2E7470EE14C6C93, tl.uint64)
    multiply1 = tl.full((PER_PROGRAM,), 0xCA5A826395121157, tl.uint64)
    step0 = tl.full((PER_PROGRAM,), 0x9E3779B97F4A7C15, tl.uint64)
    step1 = tl.full((PER_PROGRAM,), 0xBB67AE8584CAA73B, tl.uint64)
    # NumPy counts before it draws
    c0 = (block + position + 1).to(tl.uint64)
    c1, c2, c3 = nothing, nothing, nothing
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(c0, multiply0), c0 * multiply0
        high1, low1 = tl.umulhi(c2, multiply1), c2 * multiply1
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0 += step0
        key1 += step1
    to = out + (run * blocks + block) * 8
    inside = block < blocks
    _store(to, c0, inside)
    _store(to + 2, c1, inside)
    _store(to + 4, c2, inside)
    _store(to + 6, c3, inside)


@triton.jit
def _store(to, word, inside):
    """Write the 24 upper bits of each half of a word, the lower half first."""
    low = ((word >> 8) & 0xFFFFFF).to(tl.float32) * 5.9604644775390625e-08
    high = (word >> 40).to(tl.float32) * 5.9604644775390625e-08
    tl.store(to, low, mask=inside)
    tl.store(to + 1, high, mask=inside)
