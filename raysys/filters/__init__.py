"""What may be shown: filter expressions as Amazon Personalize words them, and the items they keep.

Enters: the text of an expression (`grammar`), values of its parameters (`values`), who asks
(`binding`), columns of what is known of items (`columns`). Leaves: a rule, a small frozen value
that travels between processes, and masks over items (`masks`). Arrow and numpy only.
"""
