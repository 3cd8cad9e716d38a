"""Connect's routes about the classes of a worker: which there are, what options they have, is a configuration valid."""

from aiohttp.web import Request, Response

from connector.cluster import sentences
from connector.cluster.plugins import Plugins
from connector.cluster.refused import NotFound
from connector.cluster.validation import plugin_of
from connector.config.framework import CLASS
from connector.web.connect.answers import Definition, PluginInfo, Scalar, Validation
from connector.web.connect.bodies import config_in
from connector.web.connect.definitions import definitions_in, definitions_of, validation_of
from connector.web.connect.ports import Connectors
from connector.web.routes import Query, answer, get, put

ONLY = Query(
    name="connectorsOnly",
    doc="Whether to leave out transforms, predicates and converters: `true`, in any case.",
    schema={"anyOf": [{"type": "boolean"}, {"type": "string"}], "default": True},
)


class PluginRoutes:
    """Routes of classes."""

    def __init__(self, plugins: Plugins, connectors: Connectors) -> None:
        self._plugins, self._connectors = plugins, connectors

    @get("/connector-plugins", gives={200: list[PluginInfo]}, query=(ONLY,))
    async def plugins(self, request: Request) -> Response:
        """Return the classes that a configuration may name."""
        found = [{"class": each.name, "type": "source", "version": each.version} for each in self._plugins]
        if request.query.get("connectorsOnly", "true").lower() != "true":
            parts = self._plugins.parts
            found += [{"class": each.name, "type": each.kind, "version": each.version} for each in parts]
        return answer(found)

    @get("/connector-plugins/{plugin}/config", gives={200: list[Definition]}, refuses=(404,))
    async def definitions(self, request: Request, plugin: str) -> Response:
        """Return the definitions of the options of a class."""
        connector, part = self._plugins.find(plugin), self._plugins.part(plugin)
        if connector is not None:
            return answer(definitions_of(connector))
        if part is None:
            raise NotFound(f"Unknown plugin {plugin}.")
        return answer(definitions_in(part.options.values()))

    @put(
        "/connector-plugins/{plugin}/config/validate", takes=dict[str, Scalar], gives={200: Validation}, refuses=(400,)
    )
    async def validate(self, request: Request, plugin: str) -> Response:
        """Return what is wrong with a configuration, option by option; nothing is created."""
        config = await config_in(request)
        configured = plugin_of(self._plugins, config, cure=f": {CLASS} is missing")
        if configured is not self._plugins.find(plugin):
            raise sentences.other_class(config[CLASS], plugin)
        return answer(validation_of(self._connectors.judge(config), config))
