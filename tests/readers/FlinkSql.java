import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ResultKind;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs files of SQL statements on a Flink in this process, each file as a session of its own.
 *
 * <p>For each query it prints one line of JSON: the rows that are left when it has ended, each a list of numbers and texts.
 */
public final class FlinkSql {
    private static final Pattern SET = Pattern.compile("SET\\s+'([^']+)'\\s*=\\s*'([^']*)'", Pattern.CASE_INSENSITIVE);
    private static final Pattern END = Pattern.compile(";\\s*$", Pattern.MULTILINE);

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        ObjectMapper json = new ObjectMapper();
        for (String file : arguments) {
            for (List<List<Object>> rows : session(Files.readString(Path.of(file)))) {
                out.println(json.writeValueAsString(rows));
            }
        }
        System.exit(0); // threads of Flink's would live on for a while
    }

    private static List<List<List<Object>>> session(String script) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", "1");
        List<String> statements = new ArrayList<>();
        for (String each : END.split(script)) {
            Matcher set = SET.matcher(each.strip());
            if (set.matches()) {
                settings.setString(set.group(1), set.group(2)); // the SQL client does that, not the language
            } else if (!each.isBlank()) {
                statements.add(each);
            }
        }
        TableEnvironment flink =
                TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(settings).build());
        List<List<List<Object>>> queries = new ArrayList<>();
        for (String statement : statements) {
            TableResult result = flink.executeSql(statement);
            if (result.getResultKind() == ResultKind.SUCCESS_WITH_CONTENT) {
                queries.add(rows(result));
            }
        }
        return queries;
    }

    private static List<List<Object>> rows(TableResult result) throws Exception {
        List<List<Object>> left = new ArrayList<>();
        try (CloseableIterator<Row> changes = result.collect()) {
            while (changes.hasNext()) {
                Row change = changes.next();
                List<Object> row = new ArrayList<>();
                for (int at = 0; at < change.getArity(); at++) {
                    Object value = change.getField(at);
                    row.add(value == null || value instanceof Number ? value : value.toString());
                }
                switch (change.getKind()) {
                    case INSERT, UPDATE_AFTER -> left.add(row);
                    case DELETE, UPDATE_BEFORE -> {
                        if (!left.remove(row)) {
                            throw new IllegalStateException("a row that was not there is taken back: " + row);
                        }
                    }
                }
            }
        }
        return left;
    }
}
