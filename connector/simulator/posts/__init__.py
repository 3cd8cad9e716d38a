"""
Synthetic posts: how posts are made, rendered, stored and searched.

`post`        a post with all its fields, and the facts that rules ask about
`generator`   synthetic posts of every kind, decided by a seed
`people`      the accounts that post, and short links
`lexicon`     the words of synthetic posts
`recipes`     what a post must contain to match a rule
`drafts`      a text that grows word by word, with its entities
`parts`       media, polls, places and annotations
`long_texts`  texts that weigh more than 280
`rendering`   the fields that a request asks for, as bytes
`samples`     recorded shapes, with a new id (`samples.jsonl`)
`store`       the posts of the last seven days
`search`      recent search, archive search and counts over the store
"""
