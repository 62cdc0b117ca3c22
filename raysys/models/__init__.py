"""Room 3, the models: plain PyTorch.

Enter: settings, and how many items and users there are. Leaves: an `EmbeddingModel` that turns
queries and candidates into vectors whose dot product is the score, its losses, its weights as
files, and the encoder that evaluation and serving share.
"""
