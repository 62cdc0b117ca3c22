"""raysys: the recommender that a team owns itself, on Ray.

Data enters on the left, is changed once in each room, and leaves as a table or a release:

    logs > dataset > models > training > policy > evaluation > filters > index > serving > control
     ^                                                                                     > api |
     +------------- state: interactions, user state, what was shown -----------------------------+

The hall, which every room may import: errors, hashing, storage, tables, config, recipes, release.
`raysys.commands` (behind the `raysys` command and `jobs/`) alone opens several rooms.
Importing raysys starts nothing.
"""

__version__ = "0.1.0"
