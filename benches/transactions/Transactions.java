import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Producers that commit transactions of one record each, one after the other: ADDRESS PRODUCERS SECONDS. */
public class Transactions {
    static final String TOPIC = "transactions";
    static final int PARTITIONS = 4;
    static volatile boolean begun;
    static volatile boolean over;

    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        int producers = Integer.parseInt(arguments[1]);
        double seconds = Double.parseDouble(arguments[2]);
        ConcurrentLinkedQueue<Long> took = new ConcurrentLinkedQueue<>();
        CountDownLatch ready = new CountDownLatch(producers);
        Thread[] threads = new Thread[producers];
        for (int i = 0; i < producers; i++) {
            int number = i;
            threads[i] = new Thread(() -> produce(address, producers + "-" + number, number % PARTITIONS, ready, took));
            threads[i].start();
        }
        ready.await();
        begun = true;
        say("begun");
        Thread.sleep((long) (seconds * 1000));
        Long[] all = took.toArray(new Long[0]);
        say("over");
        over = true;
        for (Thread thread : threads) {
            thread.join();
        }
        Arrays.sort(all);
        double p50 = all[all.length / 2] / 1e6;
        double p99 = all[all.length * 99 / 100] / 1e6;
        say(String.format("%d %.0f %.2f %.2f", producers, all.length / seconds, p50, p99));
    }

    static void produce(
            String address, String id, int partition, CountDownLatch ready, ConcurrentLinkedQueue<Long> took) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("transactional.id", id);
        settings.put("linger.ms", "0");
        settings.put("buffer.memory", "1048576");
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, bytes, bytes)) {
            producer.initTransactions();
            commitOne(producer, partition);
            ready.countDown();
            while (!begun) {
                Thread.sleep(1);
            }
            while (!over) {
                long before = System.nanoTime();
                commitOne(producer, partition);
                took.add(System.nanoTime() - before);
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    static void commitOne(KafkaProducer<byte[], byte[]> producer, int partition) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(TOPIC, partition, null, new byte[100]));
        producer.commitTransaction();
    }

    static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
