"""Graph networks: messages along bonds, on PyTorch Geometric."""
