import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes records of all shapes into partition 0 of a topic, the same ones for the same seed:
 * BOOTSTRAP TOPIC COUNT KEYS SEED [SETTING=VALUE]... Prints the offset of the last.
 */
public final class Write {
    /** Near enough that no broker takes it for a mistake, and the same in each run. */
    static final long BEGIN = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        for (int i = 5; i < args.length; i++) {
            var setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        int count = Integer.parseInt(args[2]);
        int keys = Integer.parseInt(args[3]);
        var chance = new Random(Long.parseLong(args[4]));
        Future<RecordMetadata> last = null;
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < count; i++) {
                last = producer.send(record(args[1], i, keys, chance));
            }
            producer.flush();
        }
        System.out.println(last.get().offset());
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, int i, int keys, Random chance) {
        // Without keys to choose from, some records have none.
        byte[] key = keys > 0 ? text("key-" + chance.nextInt(keys)) : i % 3 == 0 ? null : text("key-" + i);
        byte[] value = null;
        if (i % 11 != 0) {
            value = new byte[200 + chance.nextInt(1500)];
            chance.nextBytes(value);
            // Half of it no codec makes smaller.
            java.util.Arrays.fill(value, 0, value.length / 2, (byte) ('a' + i % 26));
        }
        var headers = new RecordHeaders();
        if (i % 5 == 0) {
            headers.add("number", text(Integer.toString(i))).add("", new byte[0]).add("none", null);
        }
        // Not in order, and some more than once.
        long timestamp = BEGIN + i / 2 * 100L + chance.nextInt(5_000);
        return new ProducerRecord<>(topic, 0, timestamp, key, value, headers);
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
