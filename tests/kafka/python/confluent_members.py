"""Members of groups with confluent-kafka: BOOTSTRAP. See members.py."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from members import Refused, serve

REFUSALS = {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH}
# What librdkafka tells of that it gets over by itself.
PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}


class Member:
    def __init__(self, bootstrap, settings, tell):
        config = {
            "bootstrap.servers": bootstrap,
            "group.id": settings["group"],
            "auto.offset.reset": settings["reset"],
            "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 500,
        }
        if "instance" in settings:
            config["group.instance.id"] = settings["instance"]
        if settings["protocol"] == "consumer":
            config["group.protocol"] = "consumer"
            config["group.remote.assignor"] = settings["assignor"]
        else:
            config["partition.assignment.strategy"] = settings["assignor"]
            config["session.timeout.ms"] = int(settings["session"])
            config["heartbeat.interval.ms"] = 500
        self.consumer = Consumer(config)
        # librdkafka takes a topic's name for a pattern where it begins with ^.
        self.consumer.subscribe(
            [settings["pattern"]] if "pattern" in settings else settings["topics"].split(","),
            on_assign=lambda _, parts: tell("assigned", [(part.topic, part.partition) for part in parts]),
            on_revoke=lambda _, parts: tell("revoked", [(part.topic, part.partition) for part in parts]),
        )

    def poll(self):
        records = self.consumer.consume(100, 0.1)
        for record in records:
            if record.error() is not None:
                if record.error().code() not in PASSING:
                    raise KafkaException(record.error())
                continue
            yield record.topic(), record.partition(), record.offset(), record.value()

    def commit(self, *place):
        try:
            if place:
                self.consumer.commit(offsets=[TopicPartition(*place)], asynchronous=False)
            else:
                self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._NO_OFFSET and not place:
                return
            if error.args[0].code() in REFUSALS:
                raise Refused(error)
            raise

    def close(self):
        self.consumer.close()


serve(Member)
