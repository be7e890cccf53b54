"""From batches to logits: bodies, catalogue, classifier (body, head), groups (rates, freezing, BatchNorm), features."""

from helpers.models.catalogue import available

__all__ = ["available"]
