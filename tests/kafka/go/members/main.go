// Members of groups with franz-go: BOOTSTRAP. What it is asked and what it says: see members.rs.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var saying sync.Mutex

func say(words ...any) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(words...)
}

type member struct {
	name   string
	client *kgo.Client
	asked  chan []string
}

func partitions(all map[string][]int32) string {
	var text []string
	for topic, parts := range all {
		for _, part := range parts {
			text = append(text, fmt.Sprintf("%s:%d", topic, part))
		}
	}
	return strings.Join(text, ",")
}

// Takes a client into the new protocol where the broker offers it.
const newProtocol = "opt_in_kafka_next_gen_balancer_beta"

func join(bootstrap, name string, settings map[string]string) (*member, error) {
	m := &member{name: name, asked: make(chan []string, 10)}
	tell := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { say(name, what, partitions(parts)) }
	}
	reset := kgo.NewOffset().AtStart()
	if settings["reset"] == "latest" {
		reset = kgo.NewOffset().AtEnd()
	}
	session, err := strconv.Atoi(settings["session"])
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(settings["group"]),
		kgo.ConsumeResetOffset(reset),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(time.Duration(session) * time.Millisecond),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.MetadataMaxAge(500 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(tell("assigned")),
		kgo.OnPartitionsRevoked(tell("revoked")),
		kgo.OnPartitionsLost(tell("revoked")),
	}
	if pattern, ok := settings["pattern"]; ok {
		options = append(options, kgo.ConsumeRegex(), kgo.ConsumeTopics(pattern))
	} else {
		options = append(options, kgo.ConsumeTopics(strings.Split(settings["topics"], ",")...))
	}
	if instance, ok := settings["instance"]; ok {
		options = append(options, kgo.InstanceID(instance))
	}
	if settings["protocol"] == "consumer" {
		options = append(options, kgo.WithContext(context.WithValue(context.Background(), newProtocol, true)))
	}
	balancer, ok := map[string]kgo.GroupBalancer{
		"range":              kgo.RangeBalancer(),
		"roundrobin":         kgo.RoundRobinBalancer(),
		"sticky":             kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(),
		// The one that asks the broker for this.
		"uniform": kgo.StickyBalancer(),
	}[settings["assignor"]]
	if !ok {
		return nil, fmt.Errorf("unknown assignor %q", settings["assignor"])
	}
	m.client, err = kgo.NewClient(append(options, kgo.Balancers(balancer))...)
	return m, err
}

func (m *member) live() {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := m.client.PollFetches(ctx)
		cancel()
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintln(os.Stderr, m.name, topic, partition, err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) { say(m.name, "read", r.Topic, r.Partition, r.Offset, string(r.Value)) })
		select {
		case words := <-m.asked:
			if words[0] == "leave" {
				m.client.Close()
				say(m.name, "left")
				return
			}
			if err := m.commit(words); err != nil {
				say(m.name, "refused", err)
			} else {
				say(m.name, "committed")
			}
		default:
		}
	}
}

// Gives what stands in the way until a rebalance is over.
func (m *member) commit(words []string) error {
	offsets := m.client.UncommittedOffsets()
	if len(words) > 2 {
		partition, _ := strconv.Atoi(words[3])
		offset, _ := strconv.Atoi(words[4])
		place := kgo.EpochOffset{Epoch: -1, Offset: int64(offset)}
		offsets = map[string]map[int32]kgo.EpochOffset{words[2]: {int32(partition): place}}
	}
	var refused error
	m.client.CommitOffsetsSync(context.Background(), offsets, func(
		_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error,
	) {
		if err != nil {
			refused = err
			return
		}
		for _, topic := range answer.Topics {
			for _, part := range topic.Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
					refused = err
				}
			}
		}
	})
	for _, passing := range []error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.StaleMemberEpoch} {
		if errors.Is(refused, passing) {
			return refused
		}
	}
	if refused != nil {
		say(m.name, "failed", refused)
	}
	return nil
}

func main() {
	members := map[string]*member{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		name := words[1]
		if words[0] != "join" {
			members[name].asked <- words
			continue
		}
		settings := map[string]string{}
		for _, word := range words[2:] {
			key, value, _ := strings.Cut(word, "=")
			settings[key] = value
		}
		m, err := join(os.Args[1], name, settings)
		if err != nil {
			say(name, "failed", err)
			continue
		}
		members[name] = m
		go m.live()
	}
}
