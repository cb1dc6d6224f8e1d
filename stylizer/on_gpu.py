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
        self._graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._capturing = device.type == "cuda"

    @torch.inference_mode()
    def __call__(self, blocks: Tensor) -> Tensor:
        """2x2 blocks of a frame less one half, (N, 12, H / 2, W / 2), to those of its painting less the ground."""
        if self._capturing and blocks.shape not in self._graphs:
            try:
                self._graphs[blocks.shape] = self._captured(blocks)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # a driver or library that cannot: launched one by one it works everywhere
                self._capturing = False
        if not self._capturing:
            return self._painted(blocks)
        graph, given, painted = self._graphs[blocks.shape]
        given.copy_(blocks)
        graph.replay()
        return painted.clone()

    def forget(self) -> None:
        """Let go of the graphs and what memory they hold."""
        self._graphs.clear()
        if self._capturing:
            torch.cuda.empty_cache()

    def _captured(self, blocks: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        """A graph, the tensor it paints and the painting. RuntimeError where capturing fails or is not exact."""
        graph, given, stream = torch.cuda.CUDAGraph(), blocks.clone(), torch.cuda.Stream(blocks.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(blocks.device))
        with torch.cuda.stream(stream):  # the libraries choose and set up what they need before, on the same stream
            for _ in range(3):
                wanted = self._painted(given)
        torch.cuda.current_stream(blocks.device).wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            painted = self._painted(given)
        graph.replay()
        if not torch.allclose(painted, wanted, rtol=0.01, atol=0.01):
            raise RuntimeError("the graph paints something else")
        return graph, given, painted

    def _painted(self, blocks: Tensor) -> Tensor:
        x = from_blocks(blocks).to(self.dtype).contiguous(memory_format=torch.channels_last)
        return self.network.blocks(x)
