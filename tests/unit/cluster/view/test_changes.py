from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.view.changes import patch_of

VALUES = st.integers(0, 2) | st.text("ab", max_size=2) | st.lists(st.integers(0, 1), max_size=2)
DOCUMENTS = st.recursive(
    st.dictionaries(st.text("abc", max_size=1), VALUES, max_size=3),
    lambda inner: st.dictionaries(st.text("abc", max_size=1), inner | VALUES, max_size=3),
)


def merged(target, patch):
    """RFC 7396, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_to_the_document(before, after):
    """Whoever merges the patch has the new document."""
    assert after == merged(before, patch_of(before, after))


@given(DOCUMENTS)
def test_no_change_is_no_patch(document):
    """Nothing is told where nothing changed."""
    assert {} == patch_of(document, dict(document))


def test_only_what_changed():
    """A change deep inside does not repeat its surroundings."""
    before = {"connectors": {"a": {"state": "RUNNING", "gaps": [1]}, "b": {"state": "RUNNING"}}, "members": 2}
    after = {"connectors": {"a": {"state": "PAUSED", "gaps": [1]}}, "members": 2}

    assert {"connectors": {"a": {"state": "PAUSED"}, "b": None}} == patch_of(before, after)
