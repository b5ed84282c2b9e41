"""Exchange with other programs: a trained model as ONNX, PyTorch weights or NumPy arrays."""
