"""Makes text of others safe to print: who configures a connector must not steer the terminal of who looks at it."""


def printable(text: str) -> str:
    r"""Return *text* with an escape such as `\x1b` for each character that is neither shown nor a line end or a tab."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )
