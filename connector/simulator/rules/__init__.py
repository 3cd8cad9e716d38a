"""
X's language of rules: what a rule says, and which posts it matches.

This is a second implementation of X's rules on purpose, beside the one in the
connector: the simulator checks the connector, so it must not share its mistakes.

`text`      the words of a text, in the form in which they are compared
`grammar`   a rule as a tree, with X's checks
`matching`  a tree against the facts of a post
`store`     the rules that the account holds, and X's answers about them
"""
