"""What kafka-python makes of a broker: BOOTSTRAP TOPIC. Prints what it found, a line for each thing."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import TopicAlreadyExistsError

RECORDS = 300


def main(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    new = NewTopic(name=topic, num_partitions=3, replication_factor=1, topic_configs={"retention.ms": "123456000"})
    admin.create_topics([new])
    try:
        admin.create_topics([new])
        print("again", "false")
    except TopicAlreadyExistsError:
        print("again", "true")
    (described,) = admin.describe_topics([topic])
    print("partitions", len(described["partitions"]))
    (described,) = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]).values()
    print("retention.ms", described[topic]["retention.ms"]["value"])

    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = [
        producer.send(
            topic,
            partition=i % 3,
            key=b"key-%d" % i,
            value=b"value-%d" % i,
            headers=[("number", b"%d" % i)],
        )
        for i in range(RECORDS)
    ]
    producer.flush()
    for future in sent:
        future.get(timeout=60)

    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    parts = [TopicPartition(topic, partition) for partition in range(3)]
    starts, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
    for part in parts:
        print("offsets", part.partition, starts[part], ends[part])
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    found = []
    while len(found) < RECORDS:
        for records in consumer.poll(timeout_ms=1000).values():
            found += records
    for record in sorted(found, key=lambda record: record.partition):
        ((name, value),) = record.headers
        print("record", record.partition, record.offset, record.key.decode(), record.value.decode(), end=" ")
        print(f"{name}={value.decode()}")


main(sys.argv[1], sys.argv[2])
