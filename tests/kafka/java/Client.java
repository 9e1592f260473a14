import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the Java client makes of a broker: BOOTSTRAP TOPIC. Prints what it found, a line for each thing. */
public final class Client {
    private static final int RECORDS = 300;

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0]);
        String topic = args[1];
        var parts = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2));
        try (var admin = Admin.create(config)) {
            var wanted = new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "123456000"));
            admin.createTopics(List.of(wanted)).all().get();
            try {
                admin.createTopics(List.of(wanted)).all().get();
                System.out.println("again false");
            } catch (ExecutionException e) {
                System.out.println("again " + (e.getCause() instanceof TopicExistsException));
            }
            var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            System.out.println("partitions " + described.partitions().size());
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            var settings = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            System.out.println("retention.ms " + settings.get("retention.ms").value());
            produce(config, topic);
            var starts = new HashMap<TopicPartition, OffsetSpec>();
            var ends = new HashMap<TopicPartition, OffsetSpec>();
            parts.forEach(part -> starts.put(part, OffsetSpec.earliest()));
            parts.forEach(part -> ends.put(part, OffsetSpec.latest()));
            var first = admin.listOffsets(starts).all().get();
            var end = admin.listOffsets(ends).all().get();
            for (var part : parts) {
                System.out.println("offsets " + part.partition() + " " + first.get(part).offset() + " " + end.get(part).offset());
            }
        }
        consume(config, parts);
    }

    private static void produce(Map<String, Object> config, String topic) throws Exception {
        var sent = new ArrayList<Future<?>>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < RECORDS; i++) {
                var record = new ProducerRecord<>(topic, i % 3, "key-" + i, "value-" + i);
                record.headers().add("number", Integer.toString(i).getBytes());
                sent.add(producer.send(record));
            }
        }
        for (var future : sent) {
            future.get();
        }
    }

    private static void consume(Map<String, Object> config, List<TopicPartition> parts) {
        var found = new ArrayList<ConsumerRecord<String, String>>();
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            while (found.size() < RECORDS) {
                consumer.poll(Duration.ofSeconds(1)).forEach(found::add);
            }
        }
        found.sort(Comparator.comparingInt(ConsumerRecord::partition));
        for (var record : found) {
            var header = record.headers().iterator().next();
            System.out.println("record " + record.partition() + " " + record.offset() + " " + record.key() + " "
                + record.value() + " " + header.key() + "=" + new String(header.value()));
        }
    }
}
