"""What does a post cost?  X's prices for what a connector asks for.  (Pure.)"""

from collections.abc import Collection

from connector.config.connector import ConnectorConfig
from connector.config.fields import POST_EXPANSIONS, RECHECK, USER_EXPANSIONS
from connector.coverage.spend import POST_MILLS, USER_MILLS


def mills_each(config: ConnectorConfig) -> int:
    """
    Return the most that one post costs with all that *config* asks for with it, in thousandths of a dollar.

    0 for an enterprise account, whose prices X does not publish.
    """
    # of the posts of a recheck nothing is asked but whether they are there
    return mills_of(config.plan, () if config.stream == RECHECK else config.expansions)


def mills_of(plan: str, expansions: Collection[str]) -> int:
    """Return the price as `mills_each`, for a *plan* and what each post brings along."""
    if plan != "pay_per_use":
        return 0
    chosen = set(expansions)
    return POST_MILLS + USER_MILLS * bool(chosen & USER_EXPANSIONS) + POST_MILLS * bool(chosen & POST_EXPANSIONS)
