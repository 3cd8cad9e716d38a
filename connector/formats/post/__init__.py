"""
The one declaration of a `Post`, what is derived from it, and how a line of X becomes one.

`declaration` says field by field what a `Post` holds; the schemas of all formats and docs/schema.md are made of it.
"""
