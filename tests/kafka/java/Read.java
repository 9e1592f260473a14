import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import java.security.MessageDigest;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints all there is to know of partition 0 of a topic, a line for each record, and where searches by time end:
 * BOOTSTRAP TOPIC.
 */
public final class Read {
    public static void main(String[] args) throws Exception {
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("enable.auto.commit", "false");
        var partition = new TopicPartition(args[1], 0);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            System.out.println("from " + consumer.position(partition) + " to " + end);
            long first = Long.MAX_VALUE;
            long last = 0;
            while (consumer.position(partition) < end) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(describe(record));
                    first = Math.min(first, record.timestamp());
                    last = Math.max(last, record.timestamp());
                }
            }
            long step = Math.max(1, (last - first) / 200);
            for (long time = first - 2 * step; time <= last + 2 * step; time += step) {
                var found = consumer.offsetsForTimes(Map.of(partition, time)).get(partition);
                System.out.println("at " + time + " " + (found == null ? "none" : found.offset() + " " + found.timestamp()));
            }
        }
    }

    private static String describe(ConsumerRecord<byte[], byte[]> record) throws Exception {
        var text = new StringBuilder();
        text.append(record.offset()).append(' ').append(record.timestampType()).append(' ').append(record.timestamp());
        text.append(" key ").append(digest(record.key())).append(" value ").append(digest(record.value()));
        for (var header : record.headers()) {
            text.append(' ').append(header.key()).append('=').append(digest(header.value()));
        }
        return text.toString();
    }

    private static String digest(byte[] bytes) throws Exception {
        return bytes == null ? "null" : HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
    }
}
