import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.source.ExactlyOnceSupport;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;

/**
 * The least that Kafka Connect needs to bring X's stream into a topic: one connection, each line a record.
 *
 * <p>Like the bare scripts it parses nothing, has no key, drops no duplicates and does not know what it has missed.
 * Connect adds its producer, its offsets and, if asked, transactions.
 */
public class FeedSource extends SourceConnector {
    private Map<String, String> settings;

    @Override
    public void start(Map<String, String> settings) {
        this.settings = settings;
    }

    @Override
    public Class<? extends Task> taskClass() {
        return FeedTask.class;
    }

    @Override
    public List<Map<String, String>> taskConfigs(int most) {
        return List.of(settings);
    }

    @Override
    public ExactlyOnceSupport exactlyOnceSupport(Map<String, String> settings) {
        return ExactlyOnceSupport.SUPPORTED;
    }

    @Override
    public void stop() {}

    @Override
    public ConfigDef config() {
        return new ConfigDef()
                .define("url", ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "The stream")
                .define("token", ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "The bearer token")
                .define("topic", ConfigDef.Type.STRING, ConfigDef.Importance.HIGH, "Where the lines go")
                .define("batch.lines", ConfigDef.Type.INT, 2000, ConfigDef.Importance.LOW, "Most lines of one poll");
    }

    @Override
    public String version() {
        return "1";
    }

    /** Reads the one connection. */
    public static class FeedTask extends SourceTask {
        private static final Map<String, String> STREAM = Map.of("stream", "filtered");
        private static final int READ_BYTES = 256 * 1024;

        private String topic;
        private int most;
        private HttpURLConnection connection;
        private InputStream stream;
        private byte[] buffer = new byte[READ_BYTES];
        private int begin;
        private int end;
        private long posts;

        @Override
        public void start(Map<String, String> settings) {
            topic = settings.get("topic");
            most = Integer.parseInt(settings.getOrDefault("batch.lines", "2000"));
            try {
                connection = (HttpURLConnection) URI.create(settings.get("url")).toURL().openConnection();
                connection.setRequestProperty("Authorization", "Bearer " + settings.get("token"));
                stream = connection.getInputStream();
            } catch (IOException error) {
                throw new ConnectException(error);
            }
        }

        /** Wait for bytes, and take the lines that have arrived. */
        @Override
        public List<SourceRecord> poll() {
            List<SourceRecord> records = new ArrayList<>(most);
            try {
                do {
                    if (!takeLines(records) && !read()) {
                        throw new ConnectException("X closed the stream");
                    }
                } while (records.isEmpty() || records.size() < most && (begin < end || stream.available() > 0));
            } catch (IOException error) {
                throw new ConnectException(error);
            }
            return records;
        }

        /** Whether a line was complete, or was left for the next poll. */
        private boolean takeLines(List<SourceRecord> records) {
            boolean any = false;
            for (int at = begin; at < end; at++) {
                if (buffer[at] != '\n') {
                    continue;
                }
                any = true;
                int length = at - begin - (at > begin && buffer[at - 1] == '\r' ? 1 : 0);
                if (length > 0) {
                    byte[] line = Arrays.copyOfRange(buffer, begin, begin + length);
                    Map<String, Long> offset = Map.of("posts", ++posts);
                    records.add(new SourceRecord(STREAM, offset, topic, Schema.BYTES_SCHEMA, line));
                }
                begin = at + 1;
                if (records.size() >= most) {
                    break;
                }
            }
            return any;
        }

        private boolean read() throws IOException {
            ByteBuffer rest = ByteBuffer.wrap(buffer, begin, end - begin);
            if (rest.remaining() > buffer.length / 2) {
                buffer = new byte[buffer.length * 2];
            }
            int kept = rest.remaining();
            rest.get(buffer, 0, kept);
            begin = 0;
            end = kept;
            int count = stream.read(buffer, end, buffer.length - end);
            end += Math.max(count, 0);
            return count >= 0;
        }

        @Override
        public void stop() {
            if (connection != null) {
                connection.disconnect();
            }
        }

        @Override
        public String version() {
            return "1";
        }
    }
}
