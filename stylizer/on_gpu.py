"""The transform network as a GPU runs it: composed kernels, channels last, and on CUDA one graph for each size."""

from __future__ import annotations

import torch
from torch import Tensor

from stylizer.network import Conv, TransformNetwork, from_blocks


class GpuNetwork:
    """A network ready to paint on a device that is short of launches, not of multiplications."""

    def __init__(self, network: TransformNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.network = TransformNetwork(network.dims)
        self.network.load_state_dict(network.state_dict())
        self.network.eval().requires_grad_(False).to(device)
        for module in list(self.network.modules()):
            if isinstance(module, Conv):
                kernel = module.kernel().detach().to(dtype).contiguous(memory_format=torch.channels_last)
                module.to(dtype)
                module.kernel = lambda kernel=kernel: kernel  # type: ignore[method-assign,misc]

    @torch.inference_mode()
    def __call__(self, blocks: Tensor) -> Tensor:
        """2x2 blocks of a frame less one half, (N, 12, H / 2, W / 2), to those of its painting less the ground."""
        x = from_blocks(blocks).to(self.dtype).contiguous(memory_format=torch.channels_last)
        return self.network.blocks(x)
