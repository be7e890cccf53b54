"""AdamW as torch has it, without the seconds in which its wrappers import the compiler that is to leave it alone."""

from inspect import unwrap

import torch
from torch.optim import Optimizer


class AdamW(torch.optim.AdamW):
    """The same steps to the last bit; for `torch.compile` take torch's own."""

    add_param_group, zero_grad = unwrap(Optimizer.add_param_group), unwrap(Optimizer.zero_grad)
    state_dict, load_state_dict = unwrap(Optimizer.state_dict), unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
