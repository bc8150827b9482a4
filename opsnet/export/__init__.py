"""The network as a file of its own: ``torch.export`` and ONNX, checked against the original."""
