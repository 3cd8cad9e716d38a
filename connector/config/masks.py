"""
Which options of a connector are secrets, and how a configuration is shown without them.

Options that nobody knows count by their names: a misspelt secret is a secret, too.
"""

import re
from collections.abc import Mapping

from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.options import HIDDEN, nearest
from connector.config.references import is_reference

_SECRET = re.compile(
    r"(token|secret|password|passphrase|credentials?|(api|consumer|access|private|secret|encryption|signing)[_-]?key)\Z",
    re.IGNORECASE,
)
_DECLARED = tuple(name for name, option in CONNECTOR_OPTIONS.items() if option.secret)
# Kafka's names for a login that is one text.
_LOGINS = ("basic.auth.user.info", "sasl.jaas.config")


def is_secret(name: str) -> bool:
    """Return whether the option *name* holds a secret: it is declared so, or its name says it or almost says it."""
    option = CONNECTOR_OPTIONS.get(name)
    if option is not None:
        return option.secret
    name = name.lower()
    return _SECRET.search(name) is not None or name.endswith(_LOGINS) or nearest(name, _DECLARED) is not None


def looks_secret(name: str) -> bool:
    """Return whether the option *name* is not shown: a secret, or an unknown option whose name ends with `key`."""
    return is_secret(name) or (name not in CONNECTOR_OPTIONS and name.lower().endswith("key"))


def hide(texts: Mapping[str, str]) -> dict[str, str]:
    """Return *texts* with `[hidden]` in the place of each text that may be a secret and is no reference to one."""
    return {
        name: HIDDEN if text and looks_secret(name) and not is_reference(text) else text for name, text in texts.items()
    }
