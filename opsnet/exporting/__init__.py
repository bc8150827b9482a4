"""Exports the network to a file with ``torch.export`` or ONNX, and checks it against the original."""
