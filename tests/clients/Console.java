import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Collections;
import java.util.Map;
import org.sourcelab.kafka.connect.apiclient.Configuration;
import org.sourcelab.kafka.connect.apiclient.KafkaConnectClient;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorPluginConfigDefinition;
import org.sourcelab.kafka.connect.apiclient.request.dto.NewConnectorDefinition;
import org.sourcelab.kafka.connect.apiclient.request.post.PostConnectorRestart;

/**
 * Calls the methods of KafkaConnectClient that its standard input names, one a line: {@code ["getConnector", "birds"]}.
 * Answers each with a line of JSON: {@code {"value": ...}}, or {@code {"error": class, "message": text}}.
 * Arguments: the address of the worker, and name and password of a user where the worker wants one.
 */
public final class Console {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration(arguments[0]).useRequestTimeoutInSeconds(30);
        if (arguments.length > 1) {
            configuration.useBasicAuth(arguments[1], arguments[2]);
        }
        KafkaConnectClient client = new KafkaConnectClient(configuration);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(JSON.writeValueAsString(answer(client, JSON.readTree(line))));
        }
    }

    private static Map<String, Object> answer(KafkaConnectClient client, JsonNode words) {
        try {
            return Collections.singletonMap("value", call(client, words.get(0).asText(), words));
        } catch (RuntimeException exception) {
            return Map.of("error", exception.getClass().getSimpleName(), "message", String.valueOf(exception.getMessage()));
        }
    }

    private static Object call(KafkaConnectClient client, String method, JsonNode words) {
        String name = words.path(1).asText();
        switch (method) {
            case "getConnectServerVersion": return client.getConnectServerVersion();
            case "getConnectors": return client.getConnectors();
            case "getConnectorsWithExpandedStatus": return client.getConnectorsWithExpandedStatus().getMappedStatuses();
            case "getConnectorsWithExpandedInfo": return client.getConnectorsWithExpandedInfo().getMappedDefinitions();
            case "getConnectorsWithAllExpandedMetadata": return client.getConnectorsWithAllExpandedMetadata();
            case "getConnector": return client.getConnector(name);
            case "getConnectorConfig": return client.getConnectorConfig(name);
            case "getConnectorStatus": return client.getConnectorStatus(name);
            case "getConnectorTopics": return client.getConnectorTopics(name);
            case "resetConnectorTopics": return client.resetConnectorTopics(name);
            case "addConnector": return client.addConnector(new NewConnectorDefinition(name, config(words)));
            case "updateConnectorConfig": return client.updateConnectorConfig(name, config(words));
            case "restartConnector": return client.restartConnector(name);
            case "restartConnectorWith": return client.restartConnector(new PostConnectorRestart(name)
                .withIncludeTasks(words.get(2).asText().equals("includeTasks"))
                .withOnlyFailed(words.get(2).asText().equals("onlyFailed")));
            case "pauseConnector": return client.pauseConnector(name);
            case "resumeConnector": return client.resumeConnector(name);
            case "deleteConnector": return client.deleteConnector(name);
            case "getConnectorTasks": return client.getConnectorTasks(name);
            case "getConnectorTaskStatus": return client.getConnectorTaskStatus(name, words.get(2).asInt());
            case "restartConnectorTask": return client.restartConnectorTask(name, words.get(2).asInt());
            case "getConnectorPlugins": return client.getConnectorPlugins();
            case "validateConnectorPluginConfig":
                return client.validateConnectorPluginConfig(new ConnectorPluginConfigDefinition(name, config(words)));
            default: throw new IllegalArgumentException("No such method: " + method);
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, String> config(JsonNode words) {
        return JSON.convertValue(words.get(2), Map.class);
    }
}
