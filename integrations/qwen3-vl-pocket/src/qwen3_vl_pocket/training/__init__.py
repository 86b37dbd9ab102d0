"""How the pocket models are trained: `python -m qwen3_vl_pocket.training`."""
