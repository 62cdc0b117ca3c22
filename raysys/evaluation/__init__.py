"""Room 6, how good it is.

Enter: histories that were held back, and anything that ranks items for a history. Leave: exact
top-k lists under the product's one tie rule, metrics per user, and a report that compares models.
"""
