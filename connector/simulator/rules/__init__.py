"""
X's language of rules: what a rule says, and which posts it matches.

The connector has a tokenizer of rules, too; this second one is kept on purpose, because a check that shares code with
what it checks also shares its mistakes.

`text`       the words of a text, in the form in which they are compared
`tree`       a rule as a tree
`operators`  the operators with a name, and what their values must look like
`grammar`    from the text of a rule to its tree, with X's checks
`matching`   does a post match a tree?
`store`      the rules that the account holds, and X's answers about them
"""
