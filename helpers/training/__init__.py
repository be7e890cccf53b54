"""From logits to better weights: run · loop · schedules · metrics · hooks · lr_finder · checkpoints."""
