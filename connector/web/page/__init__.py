"""
The page for browsers at `/`, and its files under /page/.

    static/   HTML, CSS, ES modules as they are served; uPlot 1.6 (MIT), unmodified, with its licence

The page reads the worker's own routes (the history's snapshot and events, /coverage, Connect's) and changes things
through them only, so that it can do nothing that a client cannot.
"""

from connector.web.page.routes import PageRoutes, in_front_of

__all__ = ["PageRoutes", "in_front_of"]
