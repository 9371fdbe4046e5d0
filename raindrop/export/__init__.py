"""A generator as a file that runs without raindrop: ONNX, StableHLO."""
