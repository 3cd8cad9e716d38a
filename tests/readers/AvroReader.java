import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Prints the posts of a topic with Apicurio's deserializer: id, creation (ms), author's id, and text with escapes. */
public final class AvroReader {
    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0], registry = arguments[1], topic = arguments[2];
        int wanted = Integer.parseInt(arguments[3]);

        Properties settings = new Properties();
        settings.put("bootstrap.servers", broker);
        settings.put("group.id", topic + "-java");
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");

        Map<String, Object> reading = new HashMap<>();
        reading.put("apicurio.registry.url", registry + "/apis/registry/v2");
        // Confluent's wire format: four bytes, and the id that the compatible API gives.
        reading.put("apicurio.registry.id-handler", "io.apicurio.registry.serde.Legacy4ByteIdHandler");
        reading.put("apicurio.registry.use-id", "contentId");
        AvroKafkaDeserializer<GenericRecord> deserializer = new AvroKafkaDeserializer<>();
        deserializer.configure(reading, false);

        try (KafkaConsumer<String, GenericRecord> consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), deserializer)) {
            consumer.subscribe(List.of(topic));
            long until = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            for (int read = 0; read < wanted && System.nanoTime() < until; ) {
                for (ConsumerRecord<String, GenericRecord> record : consumer.poll(Duration.ofMillis(200))) {
                    show(record.key(), record.value());
                    read++;
                }
            }
        }
    }

    private static void show(String key, GenericRecord post) {
        GenericRecord author = (GenericRecord) post.get("author");
        String text = post.get("text").toString();
        StringBuilder escaped = new StringBuilder();
        for (char each : text.toCharArray()) {
            escaped.append(each > 32 && each < 127 && each != '\\' ? String.valueOf(each) : String.format("\\u%04x", (int) each));
        }
        if (!key.equals(post.get("id").toString())) {
            throw new IllegalStateException(key + " is the key of " + post.get("id"));
        }
        Object made = post.get("created_at");
        String line = String.join("\t", key, String.valueOf(made), author == null ? "" : author.get("id").toString(), escaped);
        System.out.println(new String(line.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    }
}
