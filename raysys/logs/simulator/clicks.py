"""How people react to a list: the click model. Pure numpy.

Position-based (Craswell et al., An Experimental Comparison of Click Position-Bias Models, WSDM
2008): position p is looked at with chance `examination ** p`, and what is looked at is taken with
the chance that it attracts, whatever else is shown. Nobody takes again what they have taken before.
"""

from raysys.logs.simulator.draws import Booleans, Floats, Integers


def click_chances(
    positions: Integers, attraction: Floats, is_taken: Booleans, examination: float
) -> Floats:
    """Return the chance of a click on each shown item, (M,).

    Args:
        positions: (M,) in its list, 0 at the top.
        attraction: (M,) of the item for who sees it, then.
        is_taken: (M,) they have taken it before.
        examination: chance that position 1 is looked at; position p: this ** p.
    """
    chances: Floats = examination**positions * attraction * ~is_taken
    return chances
