"""What any model must beat, and what answers where no model can.

Each is a `Retriever`: it is fitted on histories that are given in blocks, and ranks the catalogue
for a history. A list depends on its own history alone, bit for bit, not on who else asks.
"""
