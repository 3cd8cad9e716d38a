"""
X's language of rules: what a rule says, and which posts match the rule.

The connector has a tokenizer of rules, too.  This second tokenizer is kept on purpose: the simulator checks the
connector, and a check that shares code with the connector would share its mistakes.

`text`       the words of a text, in the form in which they are compared
`tree`       a rule as a tree
`operators`  the operators with a name, and what their values must look like
`grammar`    from the text of a rule to its tree, with X's checks
`matching`   whether a post matches a tree
`store`      the rules that the account holds, and X's answers about them
"""
