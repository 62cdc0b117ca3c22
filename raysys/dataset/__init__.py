"""Room 2, what can be learnt from the log.

Enter: a dataset directory, as an import left it. Leave: vocabularies (ids outside, numbers inside),
histories (each user's interactions, oldest first) and their splits into train, validation and test.
"""
