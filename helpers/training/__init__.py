"""From logits to better weights: run (plan, history, hooks), loop, schedules, losses, metrics, finder, checkpoints."""
