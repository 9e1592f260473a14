import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Members of groups with the Java client: BOOTSTRAP. What it is asked and what it says: see members.rs. */
public final class Members {
    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", RangeAssignor.class.getName(),
        "roundrobin", RoundRobinAssignor.class.getName(),
        "sticky", StickyAssignor.class.getName(),
        "cooperative-sticky", CooperativeStickyAssignor.class.getName());

    public static void main(String[] args) throws Exception {
        var members = new HashMap<String, Member>();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            var words = line.split(" ");
            if (words[0].equals("join")) {
                var member = new Member(args[0], words);
                members.put(words[1], member);
                member.start();
            } else {
                members.get(words[1]).asked.add(words);
            }
        }
        // Without a word to anybody.
        Runtime.getRuntime().halt(0);
    }

    private static void say(String line) {
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    /** One member, which lives in a thread of its own. */
    private static final class Member extends Thread implements ConsumerRebalanceListener {
        final ConcurrentLinkedQueue<String[]> asked = new ConcurrentLinkedQueue<>();
        private final String name;
        private final Map<String, String> settings = new HashMap<>();
        private final KafkaConsumer<String, String> consumer;

        Member(String bootstrap, String[] words) {
            name = words[1];
            for (int i = 2; i < words.length; i++) {
                var setting = words[i].split("=", 2);
                settings.put(setting[0], setting[1]);
            }
            var config = new HashMap<String, Object>();
            config.put("bootstrap.servers", bootstrap);
            config.put("group.id", settings.get("group"));
            config.put("auto.offset.reset", settings.get("reset"));
            config.put("enable.auto.commit", "false");
            config.put("metadata.max.age.ms", "500");
            if (settings.containsKey("instance")) {
                config.put("group.instance.id", settings.get("instance"));
            }
            if (modern()) {
                config.put("group.protocol", "consumer");
                config.put("group.remote.assignor", settings.get("assignor"));
            } else {
                config.put("partition.assignment.strategy", ASSIGNORS.get(settings.get("assignor")));
                config.put("session.timeout.ms", settings.get("session"));
                config.put("heartbeat.interval.ms", "500");
            }
            consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        }

        private boolean modern() {
            return settings.get("protocol").equals("consumer");
        }

        @Override
        public void run() {
            try {
                live();
            } catch (Throwable e) {
                e.printStackTrace();
                say(name + " failed " + e);
            }
        }

        private void live() {
            if (!settings.containsKey("pattern")) {
                consumer.subscribe(List.of(settings.get("topics").split(",")), this);
            } else if (modern()) {
                // The broker looks for the topics.
                consumer.subscribe(new SubscriptionPattern(settings.get("pattern")), this);
            } else {
                consumer.subscribe(Pattern.compile(settings.get("pattern")), this);
            }
            while (true) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    say(name + " read " + record.topic() + " " + record.partition() + " " + record.offset() + " " + record.value());
                }
                for (String[] words; (words = asked.poll()) != null; ) {
                    if (words[0].equals("leave")) {
                        consumer.close();
                        say(name + " left");
                        return;
                    }
                    commit(words);
                }
            }
        }

        private void commit(String[] words) {
            try {
                if (words.length == 2) {
                    consumer.commitSync();
                } else {
                    var part = new TopicPartition(words[2], Integer.parseInt(words[3]));
                    consumer.commitSync(Map.of(part, new OffsetAndMetadata(Long.parseLong(words[4]))));
                }
                say(name + " committed");
            } catch (RebalanceInProgressException | CommitFailedException e) {
                say(name + " refused " + e.getMessage());
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> added) {
            say(name + " assigned " + text(added));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
            say(name + " revoked " + text(gone));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> gone) {
            say(name + " revoked " + text(gone));
        }

        private static String text(Collection<TopicPartition> parts) {
            return parts.stream().map(part -> part.topic() + ":" + part.partition()).collect(Collectors.joining(","));
        }
    }
}
