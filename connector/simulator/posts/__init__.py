"""
Posts: who writes them, what is in them, how they are rendered, stored and searched.

`post`       a post with all its fields, and the facts that rules ask about
`generator`  synthetic posts of every kind, decided by a seed
`people`     the accounts that post, and short links
`drafts`     a text that grows word by word, with its entities
`lexicon`    the words of synthetic posts
`recipes`    what a post must have so that a rule matches
`rendering`  the fields that a request asked for, as bytes
`samples`    recorded shapes, with a new id (`samples.jsonl`)
`store`      the posts of the last seven days
`search`     recent search, archive search and counts over the store
"""
