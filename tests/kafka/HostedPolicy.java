import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** What a hosted Kafka asks of new topics: Confluent Cloud's limits, and a replication factor that is fixed. */
public class HostedPolicy implements CreateTopicPolicy {
    @Override
    public void configure(Map<String, ?> configs) {}

    @Override
    public void close() {}

    @Override
    public void validate(RequestMetadata topic) {
        if (topic.replicationFactor() != null && topic.replicationFactor() != 1) {
            throw new PolicyViolationException("Topic replication factor must be 1");
        }
        atLeast(topic, "segment.bytes", 52428800L);
        atMost(topic, "max.message.bytes", 8388608L);
        atMost(topic, "retention.ms", 2592000000L);
        if (topic.configs().containsKey("min.cleanable.dirty.ratio")) {
            throw new PolicyViolationException("Config property 'min.cleanable.dirty.ratio' is not editable.");
        }
    }

    private static void atLeast(RequestMetadata topic, String setting, long least) {
        String value = topic.configs().get(setting);
        if (value != null && Long.parseLong(value) < least) {
            throw new PolicyViolationException("Config property '" + setting + "' with value '" + value
                + "' is lower than the minimum allowed value of " + least + ".");
        }
    }

    private static void atMost(RequestMetadata topic, String setting, long most) {
        String value = topic.configs().get(setting);
        if (value != null && Long.parseLong(value) > most) {
            throw new PolicyViolationException("Config property '" + setting + "' with value '" + value
                + "' exceeded the maximum allowed value of " + most + ".");
        }
    }
}
