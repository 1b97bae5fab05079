"""Which precision networks are trained and measured in: bfloat16 only where the hardware has it.

There it is about twice as fast as float32, and restored images differ by a level in 255 or two.
Elsewhere PyTorch emulates it, many times more slowly. :func:`dsd_lib.restore` is always exact.
"""

import torch


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 if the device computes with it, float32 otherwise.

    >>> fast_dtype("meta")
    torch.float32
    """
    kind = torch.device(device).type
    if kind == "cuda":
        # Without emulation: a T4 has none.
        found = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = kind == "cpu" and _cpu_has_bfloat16()
    return torch.bfloat16 if found else torch.float32


def fast_autocast(device: torch.device | str, dtype: torch.dtype | None = None) -> torch.autocast:
    """Autocast of convolutions to ``dtype``, or to :func:`fast_dtype`; none for float32.

    >>> with fast_autocast("cpu", torch.bfloat16):
    ...     torch.nn.Conv2d(3, 4, 1)(torch.rand(1, 3, 2, 2)).dtype
    torch.bfloat16
    """
    dtype = fast_dtype(device) if dtype is None else dtype
    reduced = dtype in (torch.float16, torch.bfloat16)
    return torch.autocast(
        torch.device(device).type, dtype if reduced else torch.bfloat16, enabled=reduced
    )


def _cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16: AVX-512 BF16 or AMX."""
    # PyTorch has no public question for it that its older versions know too.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)
