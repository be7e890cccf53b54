"""From batches to logits: bodies · classifier (body and head) · groups (rates, freezing, BatchNorm) · features."""

from helpers.models.catalogue import available

__all__ = ["available"]
