import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.json.JsonConverter;

/** Reads each line with Kafka Connect's JsonConverter, and writes what it has read; "! " and why if it reads nothing. */
public final class JsonAgain {
    private static final String TOPIC = "posts";

    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (JsonConverter converter = new JsonConverter()) {
            converter.configure(Map.of("schemas.enable", "true"), false);
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                out.print(again(converter, line) + "\n");
                out.flush();
            }
        }
    }

    private static String again(JsonConverter converter, String line) {
        try {
            SchemaAndValue read = converter.toConnectData(TOPIC, line.getBytes(StandardCharsets.UTF_8));
            return new String(converter.fromConnectData(TOPIC, read.schema(), read.value()), StandardCharsets.UTF_8);
        } catch (ConnectException problem) {
            return "! " + problem;
        }
    }
}
