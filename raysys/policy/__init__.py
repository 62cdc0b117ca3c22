"""What to show: pure re-rankers, and the chance with which each of them shows an item.

Relevant items and fresh ones enter; a list leaves, with a propensity for every position. Numpy
only: no Ray, no clock, no database, and no random numbers but those of the seed that is passed in.
"""
