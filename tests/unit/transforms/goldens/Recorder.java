import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

import org.apache.kafka.connect.header.*;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.apache.kafka.connect.transforms.predicates.Predicate;

public class Recorder {
    static final ObjectMapper M = new ObjectMapper();
    static final JsonConverter C = new JsonConverter();

    static Object read(JsonNode n) throws Exception {
        if (n == null || n.isNull()) return null;
        return C.toConnectData("t", M.writeValueAsBytes(n)).value();
    }

    static Object plain(Object v) {
        if (v instanceof Date) return Map.of("$time", ((Date) v).getTime());
        if (v instanceof Map) { Map<Object, Object> m = new LinkedHashMap<>(); ((Map<?, ?>) v).forEach((k, x) -> m.put(k, plain(x))); return m; }
        if (v instanceof List) { List<Object> l = new ArrayList<>(); ((List<?>) v).forEach(x -> l.add(plain(x))); return l; }
        return v;
    }

    static JsonNode write(Object v) throws Exception {
        byte[] b = C.fromConnectData("t", null, plain(v));
        return b == null ? NullNode.instance : M.readTree(b);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    public static void main(String[] args) throws Exception {
        C.configure(Map.of("schemas.enable", "false"), false);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        for (String line; (line = in.readLine()) != null; ) {
            ObjectNode c = (ObjectNode) M.readTree(line);
            Map<String, String> config = M.convertValue(c.get("config"), Map.class);
            ObjectNode answer = M.createObjectNode();
            Object made = Class.forName(c.get("class").asText()).getDeclaredConstructor().newInstance();
            JsonNode r = c.get("record");
            Headers headers = new ConnectHeaders();
            if (r.has("headers")) for (JsonNode h : r.get("headers")) headers.addString(h.get(0).asText(), h.get(1).asText());
            try {
                SourceRecord record = new SourceRecord(Map.of(), Map.of(), r.get("topic").asText(), null, null, read(r.get("key")), null, read(r.get("value")), r.get("timestamp").asLong(), headers);
                if (made instanceof Predicate) {
                    Predicate p = (Predicate) made;
                    try { p.configure(config); } catch (Exception e) { answer.put("refused", e.getMessage()); }
                    if (!answer.has("refused")) answer.put("holds", p.test(record));
                } else {
                    Transformation t = (Transformation) made;
                    try { t.configure(config); } catch (Exception e) { answer.put("refused", String.valueOf(e.getMessage())); }
                    if (!answer.has("refused")) {
                        SourceRecord a = (SourceRecord) t.apply(record);
                        if (a == null) answer.put("dropped", true);
                        else {
                            ObjectNode n = answer.putObject("becomes");
                            n.put("topic", a.topic()); n.set("key", write(a.key())); n.set("value", write(a.value())); n.put("timestamp", a.timestamp());
                        }
                    }
                }
            } catch (Exception e) { answer.removeAll(); answer.put("failed", e.getClass().getSimpleName() + ": " + e.getMessage()); }
            c.setAll(answer);
            out.println(M.writeValueAsString(c));
        }
        out.flush();
    }
}
