"""Room 4, how a model is learnt.

Enter: histories (or a dataset directory, for training on Ray), a model, settings, and a callable
that validates a model. Leaves: the weights of the best epoch and the metrics of every epoch.
"""
