"""From logits to better weights: run · loop · schedules · losses · metrics · lr_finder · checkpoints."""
