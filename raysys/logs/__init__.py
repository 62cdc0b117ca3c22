"""Room 1, what happened.

Enter: files of interactions, items and users as people have them. Leaves: a dataset directory,
checked, sharded by user, with a manifest and a quarantine in which no row is lost.
"""
