"""Whether a dataset is fit to be trained on: every rule, in the order in which they are shown.

Pure: statistics in, findings out. A rule's thresholds stand in its docstring's first line.
"""

from collections.abc import Callable

from raysys.dataset import import_rules, interaction_rules
from raysys.dataset.findings import Finding
from raysys.dataset.statistics import Statistics

RULES: tuple[Callable[[Statistics], Finding | None], ...] = (
    interaction_rules.interactions,
    interaction_rules.returning_users,
    interaction_rules.single_interactions,
    interaction_rules.most_popular_item,
    interaction_rules.busiest_user,
    import_rules.quarantined,
    import_rules.duplicates,
    interaction_rules.unit_of_time,
    interaction_rules.future,
    interaction_rules.time_span,
    interaction_rules.ties,
    import_rules.event_types,
    import_rules.impressions,
    import_rules.context,
    import_rules.constant_columns,
    import_rules.items_join,
    import_rules.cold_items,
    import_rules.users_join,
    import_rules.split,
)


def check(statistics: Statistics) -> list[Finding]:
    """Return what the rules find; a rule about something that the dataset has not says nothing."""
    if not statistics.shard.rows:  # everybody was forgotten
        return [interaction_rules.interactions(statistics)]
    findings = [rule(statistics) for rule in RULES]
    return [finding for finding in findings if finding is not None]
