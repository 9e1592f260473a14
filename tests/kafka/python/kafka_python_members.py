"""Members of groups with kafka-python: BOOTSTRAP. See members.py."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import CommitFailedError, IllegalGenerationError, RebalanceInProgressError

from members import Refused, serve

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}


class Listener(ConsumerRebalanceListener):
    def __init__(self, tell):
        self.tell = tell

    def on_partitions_assigned(self, parts):
        self.tell("assigned", parts)

    def on_partitions_revoked(self, parts):
        self.tell("revoked", parts)


class Member:
    def __init__(self, bootstrap, settings, tell):
        self.consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=settings["group"],
            group_instance_id=settings.get("instance"),
            auto_offset_reset=settings["reset"],
            enable_auto_commit=False,
            metadata_max_age_ms=500,
            session_timeout_ms=int(settings["session"]),
            heartbeat_interval_ms=500,
            partition_assignment_strategy=(ASSIGNORS[settings["assignor"]],),
        )
        if "pattern" in settings:
            self.consumer.subscribe(pattern=settings["pattern"], listener=Listener(tell))
        else:
            self.consumer.subscribe(settings["topics"].split(","), listener=Listener(tell))

    def poll(self):
        for records in self.consumer.poll(timeout_ms=100).values():
            for record in records:
                yield record.topic, record.partition, record.offset, record.value

    def commit(self, *place):
        try:
            if place:
                topic, partition, offset = place
                self.consumer.commit({TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)})
            else:
                self.consumer.commit()
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError) as error:
            raise Refused(error) from error

    def close(self):
        self.consumer.close()


serve(Member)
