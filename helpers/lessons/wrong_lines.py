"""Functions that run, give a result, and are wrong: what the bug hunts show. `helpers.lessons.bug_hunt` says why.

They stand here as a learner copies them; never call one in earnest.
"""

import re

import torch
import torch.nn.functional as F

from helpers.runtime.torch_gaps import AdamW


def kind_of(name):
    return re.search(r"(.+)_", name).group(1)


def share_correct(predicted, targets):
    return (predicted == targets).sum() / (targets == 1).sum()


def loss_of(logits, targets):
    return F.cross_entropy(logits.softmax(dim=1), targets)


def batch_for(images, training, rng):
    mirrored = torch.rand(len(images), generator=rng) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def optimizer_for(model):
    model[0].requires_grad_(False)  # the first epochs: only the head
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = AdamW(trained, lr=0.1)
    model[0].requires_grad_(True)  # now everything
    return optimizer


def prepare(pixels):
    images = (pixels.float() - 127) / 128
    mean, std = 127 / 255, 128 / 255
    return (images - mean) / std


def mean_of_views(log_probs):
    return log_probs.mean(dim=0).exp()


def found_of(alarm, broken):
    return (alarm & broken).sum() / alarm.sum()


def gradient_of(model, parts):
    for inputs, targets in parts:
        F.cross_entropy(model(inputs), targets).backward()
    return model.weight.grad


def split_of(files):
    in_order = sorted(files)
    valid = in_order[::5]
    return [file for file in in_order if file not in valid], valid


def loss_over(batches):
    return sum(float(losses.mean()) for losses in batches) / len(batches)
