"""
HTTP as X speaks it: requests and answers on a socket, errors, tokens and rate windows.

`wire`      HTTP/1.1 on a bare asyncio transport
`answers`   whole answers, with the headers that X sends
`problems`  the errors of the API, in a table
`auth`      bearer tokens, and how a client gets one
`limits`    how many requests a client may make in 15 minutes
"""
