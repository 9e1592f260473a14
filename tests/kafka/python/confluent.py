"""What confluent-kafka makes of a broker: BOOTSTRAP TOPIC default|idempotent. Prints what it found, a line for each thing."""

import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

RECORDS = 300


def fail(error):
    if error is not None:
        raise KafkaException(error)


def main(bootstrap, topic, mode):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(topic, 3, 1, config={"retention.ms": "123456000"})
    admin.create_topics([new])[topic].result(60)
    try:
        admin.create_topics([new])[topic].result(60)
        print("again", "false")
    except KafkaException as error:
        print("again", "true" if error.args[0].name() == "TOPIC_ALREADY_EXISTS" else error)
    print("partitions", len(admin.list_topics(topic).topics[topic].partitions))
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    settings = admin.describe_configs([resource])[resource].result(60)
    print("retention.ms", settings["retention.ms"].value)

    config = {"bootstrap.servers": bootstrap}
    if mode == "idempotent":
        config["enable.idempotence"] = True
    producer = Producer(config)
    for i in range(RECORDS):
        producer.produce(
            topic,
            partition=i % 3,
            key=f"key-{i}",
            value=f"value-{i}",
            headers={"number": str(i)},
            on_delivery=lambda error, _: fail(error),
        )
    if producer.flush(60):
        sys.exit("not all records were delivered")

    parts = [TopicPartition(topic, partition) for partition in range(3)]
    starts = admin.list_offsets({part: OffsetSpec.earliest() for part in parts})
    ends = admin.list_offsets({part: OffsetSpec.latest() for part in parts})
    for part in parts:
        print("offsets", part.partition, starts[part].result(60).offset, ends[part].result(60).offset)
    # It wants a group's name, although partitions are assigned by hand.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
    found = []
    while len(found) < RECORDS:
        for record in consumer.consume(RECORDS, 1):
            fail(record.error())
            found.append(record)
    consumer.close()
    for record in sorted(found, key=lambda record: record.partition()):
        ((name, value),) = record.headers()
        print("record", record.partition(), record.offset(), record.key().decode(), record.value().decode(), end=" ")
        print(f"{name}={value.decode()}")


main(*sys.argv[1:])
