// What franz-go makes of a broker: BOOTSTRAP TOPIC default|idempotent. Prints what it found, a line for each thing.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const records = 300

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	client := must(kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())))
	defer client.Close()
	admin := kadm.NewClient(client)
	retention := "123456000"
	created := must(admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": &retention}, topic))
	must(created, created.Err)
	_, err := admin.CreateTopic(ctx, 3, 1, nil, topic)
	fmt.Println("again", err != nil)

	details := must(admin.ListTopics(ctx, topic))
	fmt.Println("partitions", len(details[topic].Partitions))
	configs := must(admin.DescribeTopicConfigs(ctx, topic))
	for _, config := range configs[0].Configs {
		if config.Key == "retention.ms" {
			fmt.Println("retention.ms", config.MaybeValue())
		}
	}

	for i := 0; i < records; i++ {
		record := &kgo.Record{
			Topic:     topic,
			Partition: int32(i % 3),
			Key:       []byte(fmt.Sprintf("key-%d", i)),
			Value:     []byte(fmt.Sprintf("value-%d", i)),
			Headers:   []kgo.RecordHeader{{Key: "number", Value: []byte(fmt.Sprint(i))}},
		}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) { must(0, err) })
	}
	must(0, client.Flush(ctx))

	starts := must(admin.ListStartOffsets(ctx, topic))
	ends := must(admin.ListEndOffsets(ctx, topic))
	for partition := int32(0); partition < 3; partition++ {
		start, _ := starts.Lookup(topic, partition)
		end, _ := ends.Lookup(topic, partition)
		fmt.Println("offsets", partition, start.Offset, end.Offset)
	}

	from := kgo.NewOffset().AtStart()
	assigned := map[string]map[int32]kgo.Offset{topic: {0: from, 1: from, 2: from}}
	consumer := must(kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(assigned)))
	defer consumer.Close()
	var found []*kgo.Record
	for len(found) < records {
		fetches := consumer.PollFetches(ctx)
		must(0, fetches.Err())
		found = append(found, fetches.Records()...)
	}
	sort.SliceStable(found, func(a, b int) bool { return found[a].Partition < found[b].Partition })
	for _, r := range found {
		fmt.Printf("record %d %d %s %s %s=%s\n", r.Partition, r.Offset, r.Key, r.Value, r.Headers[0].Key, r.Headers[0].Value)
	}
}
