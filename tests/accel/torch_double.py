"""torch's part of a prediction where torch has no CUDA: its operators on the processor, over the emulated GPU's memory.

A double for tests alone: what it cannot show is whether torch's own graphs take what is put into them.
"""

import ctypes

import numpy as np
import torch

from recsmith.executor.cuda.recording import DriverLane

KINDS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchDouble:
    def __init__(self, device):
        self.device = device
        self.recorded = 0

    def tensor(self, address, shape, dtype):
        nbytes = int(np.prod(shape)) * torch.empty(0, dtype=KINDS[dtype]).element_size()
        buffer = (ctypes.c_ubyte * nbytes).from_address(address)
        return torch.frombuffer(buffer, dtype=KINDS[dtype]).view(shape)

    def parameter(self, array, dtype):
        return torch.from_numpy(np.array(array, np.float32)).to(KINDS[dtype])

    def lane(self):
        return DriverLane(self.device.stream())

    def record(self, lane, steps):
        self.recorded += 1
        made = Steps(lane, steps)
        made.launch(lane.stream)
        return made


class Steps:
    """Runs the steps at each launch; what may run side by side comes in turning order."""

    def __init__(self, lane, steps):
        self.lane, self.steps, self.turn = lane, steps, 0

    def launch(self, stream=0):
        assert stream == self.lane.stream
        self.turn += 1
        with torch.inference_mode():
            for sequence in (*self.steps.apart[:: 1 if self.turn % 2 else -1], self.steps.then):
                for step in sequence:
                    step(stream)

    def close(self):
        self.steps = None
