"""From batches to logits: bodies · classifier (body and head) · groups (rates, freezing, BatchNorm) · features."""
