//! The rules of groups of KIP-848, one by one.

mod migration;
mod size;

use super::bench::{Bench, response};
use crate::coordinator::group::State;
use crate::coordinator::group::consumer::ConsumerState;
use crate::coordinator::records::{ConsumerRecord, Record};
use crate::coordinator::{Event, GroupSettings, Request, Settings};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

type Beat = ConsumerGroupHeartbeatRequest;
type Beaten = ConsumerGroupHeartbeatResponse;

const REBALANCE: i32 = 20_000;

/// A heartbeat that tells nothing new.
fn beat(id: &str, member_epoch: i32) -> Beat {
    Beat { group_id: "g".into(), member_id: id.into(), member_epoch, ..Default::default() }
}

/// A heartbeat that joins and subscribes to these topics.
fn join(id: &str, topics: &[&str]) -> Beat {
    Beat {
        rebalance_timeout_ms: REBALANCE,
        subscribed_topic_names: Some(topics.iter().map(|name| name.to_string()).collect()),
        topic_partitions: Some(Vec::new()),
        ..beat(id, 0)
    }
}

fn fixed(instance: &str, request: Beat) -> Beat {
    Beat { instance_id: Some(instance.into()), ..request }
}

impl Bench {
    fn heartbeat(&mut self, request: Beat) -> Beaten {
        self.heartbeat_in(1, request)
    }

    fn heartbeat_in(&mut self, version: i16, request: Beat) -> Beaten {
        let chance = self.chance();
        let token = self.ask(version, Request::ConsumerHeartbeat(request, chance));
        response!(self.reply(token), ConsumerHeartbeat)
    }

    /// A heartbeat that tells what the member has of topic `t`.
    fn owning(&mut self, id: &str, epoch: i32, partitions: &[i32]) -> Beaten {
        let request = Beat { topic_partitions: Some(self.of_t(partitions)), ..beat(id, epoch) };
        self.heartbeat(request)
    }

    fn of_t(&self, partitions: &[i32]) -> Vec<ConsumerGroupHeartbeatTopicPartitions> {
        let topic_id = self.topics.id("t");
        match partitions.is_empty() {
            true => Vec::new(),
            false => {
                vec![ConsumerGroupHeartbeatTopicPartitions { topic_id, partitions: partitions.to_vec() }]
            }
        }
    }

    pub fn described(&mut self) -> ConsumerGroupDescribeDescribedGroup {
        let token = self.ask(1, Request::ConsumerDescribe(vec!["g".into()]));
        response!(self.reply(token), ConsumerDescribe).remove(0)
    }

    fn group_state(&self) -> ConsumerState {
        self.machine().group("g").unwrap().consumer().unwrap().state()
    }
}

/// A coordinator that knows topic `t` with so many partitions.
fn bench(partitions: i32) -> Bench {
    let mut bench = Bench::new(Settings::default());
    bench.topic("t", partitions);
    bench
}

/// The partitions that an answer gives, by the first bytes of their topics' ids; none if it tells of none.
fn told(beaten: &Beaten) -> Option<Vec<(u8, Vec<i32>)>> {
    let topics = &beaten.assignment.as_ref()?.topic_partitions;
    Some(topics.iter().map(|topic| (topic.topic_id.0[0], topic.partitions.clone())).collect())
}

fn gives(partitions: &[i32]) -> Option<Vec<(u8, Vec<i32>)>> {
    Some(if partitions.is_empty() { Vec::new() } else { vec![(1, partitions.to_vec())] })
}

#[test]
fn a_partition_moves_when_its_member_has_given_it_up() {
    let mut bench = bench(3);
    let first = bench.heartbeat(join("a", &["t"]));
    assert_eq!((first.error_code, first.member_epoch, told(&first)), (ErrorCode::NONE, 1, gives(&[0, 1, 2])));
    assert_eq!((first.member_id.as_deref(), first.heartbeat_interval_ms), (Some("a"), 5000));
    let second = bench.heartbeat(join("b", &["t"]));
    assert_eq!((second.member_epoch, told(&second)), (2, gives(&[])));
    assert_eq!(bench.group_state(), ConsumerState::Reconciling);
    // It keeps its epoch until it has given up what it is told to.
    let gives_up = bench.owning("a", 1, &[0, 1, 2]);
    assert_eq!((gives_up.member_epoch, told(&gives_up)), (1, gives(&[0, 1])));
    assert_eq!(told(&bench.heartbeat(beat("b", 2))), None);
    assert_eq!(told(&bench.heartbeat(beat("a", 1))), None);
    let moved = bench.owning("a", 1, &[0, 1]);
    assert_eq!((moved.member_epoch, told(&moved)), (2, None));
    let got = bench.heartbeat(beat("b", 2));
    assert_eq!((got.member_epoch, told(&got)), (2, gives(&[2])));
    assert_eq!(bench.group_state(), ConsumerState::Stable);
    let length = bench.log.len();
    assert_eq!(told(&bench.heartbeat(beat("b", 2))), None);
    assert_eq!(bench.log.len(), length, "nothing has changed, and nothing is written");
    // Who asks for all is told all.
    let full = Beat { member_epoch: 2, topic_partitions: Some(bench.of_t(&[2])), ..join("b", &["t"]) };
    assert_eq!(told(&bench.heartbeat(full)), gives(&[2]));
    bench.check_durable();
    bench.restart();
    assert_eq!(bench.heartbeat(beat("a", 2)).error_code, ErrorCode::NONE);
    assert_eq!(bench.log.len(), length, "what the log says of topics is still so");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut bench = bench(1);
    let invalid = ErrorCode::INVALID_REQUEST;
    for (request, error) in [
        (Beat { group_id: String::new(), ..join("a", &["t"]) }, invalid),
        (join("", &["t"]), invalid),
        (fixed("", join("a", &["t"])), invalid),
        (Beat { rack_id: Some(String::new()), ..join("a", &["t"]) }, invalid),
        (Beat { rebalance_timeout_ms: -1, ..join("a", &["t"]) }, invalid),
        (Beat { topic_partitions: None, ..join("a", &["t"]) }, invalid),
        (Beat { subscribed_topic_names: None, ..join("a", &["t"]) }, invalid),
        (beat("a", -3), invalid),
        (beat("a", -2), invalid),
        (Beat { server_assignor: Some("best".into()), ..join("a", &["t"]) }, ErrorCode::UNSUPPORTED_ASSIGNOR),
        (
            Beat { subscribed_topic_regex: Some("(".into()), ..join("a", &["t"]) },
            ErrorCode::INVALID_REGULAR_EXPRESSION,
        ),
        (beat("a", 1), ErrorCode::GROUP_ID_NOT_FOUND),
        (beat("a", -1), ErrorCode::GROUP_ID_NOT_FOUND),
    ] {
        let beaten = bench.heartbeat(request);
        assert_eq!(beaten.error_code, error, "{beaten:?}");
        assert!(beaten.error_message.is_some_and(|message| !message.is_empty()));
        assert!(bench.machine().group("g").is_none() && bench.log.is_empty());
    }
    // Old clients get their id from the coordinator.
    let joined = bench.heartbeat_in(0, join("", &["t"]));
    assert_eq!(joined.member_id.map(|id| id.len()), Some(22));
    let error = |beaten: Beaten| beaten.error_code;
    assert_eq!(error(bench.heartbeat(beat("b", 1))), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(error(bench.heartbeat(beat("b", -1))), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(error(bench.heartbeat(fixed("i", beat("b", 1)))), ErrorCode::UNKNOWN_MEMBER_ID);
    let token = bench.ask(1, Request::ConsumerDescribe(vec!["no".into()]));
    let described = response!(bench.reply(token), ConsumerDescribe);
    assert_eq!(described[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn before_the_topics_are_known_members_wait() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.heartbeat(join("a", &["t"])).error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    bench.topic("t", 1);
    assert_eq!(bench.heartbeat(join("a", &["t"])).error_code, ErrorCode::NONE);
}

#[test]
fn an_epoch_that_is_not_the_members_is_fenced() {
    let mut bench = bench(2);
    bench.heartbeat(join("a", &["t"]));
    bench.heartbeat(join("b", &["t"]));
    bench.owning("a", 1, &[0, 1]);
    assert_eq!(bench.owning("a", 1, &[0]).member_epoch, 2);
    let error = |beaten: Beaten| beaten.error_code;
    assert_eq!(error(bench.heartbeat(beat("a", 3))), ErrorCode::FENCED_MEMBER_EPOCH);
    // The answer was lost: its epoch is the one before, and it has nothing but what it may have.
    assert_eq!(error(bench.heartbeat(beat("a", 1))), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(error(bench.owning("a", 1, &[0, 1])), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(bench.owning("a", 1, &[0]).member_epoch, 2);
    // It joins again, under the same id, and is where it was.
    let again = bench.heartbeat(join("a", &["t"]));
    assert_eq!((again.member_epoch, told(&again)), (2, gives(&[0])));
}

#[test]
fn silent_members_go_and_so_do_those_that_do_not_give_up() {
    let mut bench = bench(2);
    bench.heartbeat(join("a", &["t"]));
    bench.heartbeat(join("b", &["t"]));
    bench.owning("a", 1, &[0, 1]);
    for _ in 0..3 {
        bench.pass(6000);
        bench.heartbeat(beat("b", 2));
        bench.heartbeat(beat("a", 1));
    }
    bench.pass(2000);
    assert_eq!(bench.heartbeat(beat("a", 1)).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let got = bench.heartbeat(beat("b", 2));
    assert_eq!((got.member_epoch, told(&got)), (3, gives(&[0, 1])));
    bench.pass(44_999);
    assert_eq!(bench.group_state(), ConsumerState::Stable);
    bench.pass(1);
    assert_eq!(bench.group_state(), ConsumerState::Empty);
    bench.check_durable();
    let own =
        GroupSettings { consumer_session_timeout_ms: Some(50_000), consumer_heartbeat_interval_ms: Some(9) };
    bench.tell(Event::GroupSettings("g".into(), own));
    let joined = bench.heartbeat(join("b", &["t"]));
    assert_eq!((joined.member_epoch, joined.heartbeat_interval_ms), (5, 9));
    bench.pass(49_999);
    assert_eq!(bench.group_state(), ConsumerState::Stable);
    bench.pass(1);
    assert_eq!(bench.group_state(), ConsumerState::Empty);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bench = bench(4);
    bench.heartbeat(fixed("i", join("a", &["t"])));
    bench.heartbeat(join("b", &["t"]));
    bench.owning("a", 1, &[0, 1, 2, 3]);
    bench.heartbeat(fixed("i", Beat { topic_partitions: Some(bench.of_t(&[0, 1])), ..beat("a", 1) }));
    assert_eq!(told(&bench.heartbeat(beat("b", 2))), gives(&[2, 3]));
    // While it is here, nobody else can be it.
    let taken = bench.heartbeat(fixed("i", join("c", &["t"])));
    assert_eq!(taken.error_code, ErrorCode::UNRELEASED_INSTANCE_ID);
    let left = bench.heartbeat(fixed("i", beat("a", -2)));
    assert_eq!((left.error_code, left.member_epoch), (ErrorCode::NONE, -2));
    assert_eq!(bench.heartbeat(beat("b", 2)).member_epoch, 2);
    let back = bench.heartbeat(fixed("i", join("c", &["t"])));
    assert_eq!((back.member_epoch, told(&back)), (2, gives(&[0, 1])));
    assert_eq!(bench.heartbeat(fixed("i", beat("a", 2))).error_code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(bench.heartbeat(beat("a", 2)).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.described().group_epoch, 2);
    // One that stays away is put out when its session ends.
    bench.heartbeat(fixed("i", beat("c", -2)));
    for _ in 0..9 {
        bench.pass(5000);
        bench.heartbeat(beat("b", 2));
    }
    assert_eq!(bench.described().members.len(), 1);
    bench.check_durable();
    bench.heartbeat(fixed("j", join("d", &["t"])));
    assert_eq!(bench.heartbeat(fixed("j", beat("d", -1))).member_epoch, -1);
    assert_eq!(bench.described().members.len(), 1);
}

#[test]
fn what_becomes_of_topics_is_followed() {
    let mut bench = bench(1);
    bench.heartbeat(join("a", &["t", "u"]));
    bench.topic("other", 3);
    assert_eq!(bench.heartbeat(beat("a", 1)).member_epoch, 1);
    bench.topic("t", 2);
    let more = bench.heartbeat(beat("a", 1));
    assert_eq!((more.member_epoch, told(&more)), (2, gives(&[0, 1])));
    bench.topic("u", 1);
    assert_eq!(told(&bench.heartbeat(beat("a", 2))), Some(vec![(1, vec![0, 1]), (3, vec![0])]));
    bench.topics.rack = Some("r".into());
    bench.topic("t", 2);
    assert_eq!(bench.heartbeat(beat("a", 3)).member_epoch, 4);
    let u = ConsumerGroupHeartbeatTopicPartitions { topic_id: bench.topics.id("u"), partitions: vec![0] };
    bench.topic("t", 0);
    let gone = bench.heartbeat(beat("a", 4));
    assert_eq!((gone.member_epoch, told(&gone)), (4, Some(vec![(3, vec![0])])));
    let gone = bench.heartbeat(Beat { topic_partitions: Some(vec![u]), ..beat("a", 4) });
    assert_eq!((gone.member_epoch, told(&gone)), (5, None));
    // A new subscription.
    let named = Beat { subscribed_topic_names: Some(vec!["other".into()]), ..beat("a", 5) };
    assert_eq!(told(&bench.heartbeat(named)), Some(Vec::new()));
    let named = Beat { topic_partitions: Some(Vec::new()), ..beat("a", 5) };
    assert_eq!(told(&bench.heartbeat(named)), Some(vec![(2, vec![0, 1, 2])]));
    bench.check_durable();
}

#[test]
fn patterns_are_matched_with_the_topics() {
    let mut bench = bench(1);
    bench.topic("tt", 1);
    let by = |pattern: &str, request: Beat| Beat { subscribed_topic_regex: Some(pattern.into()), ..request };
    let joined = bench.heartbeat(by("t.*", join("a", &[])));
    assert_eq!((joined.member_epoch, told(&joined)), (1, gives(&[])));
    bench.pass(1);
    let got = bench.heartbeat(beat("a", 1));
    assert_eq!((got.member_epoch, told(&got)), (2, Some(vec![(1, vec![0]), (2, vec![0])])));
    // The same pattern is known, and another one waits for its turn.
    let same = bench.heartbeat(by("t.*", join("b", &[])));
    assert_eq!(same.member_epoch, 3);
    bench.heartbeat(beat("b", -1));
    let other = bench.heartbeat(by(r"x\d", join("c", &[])));
    assert_eq!(other.member_epoch, 4);
    bench.topic("x1", 1);
    bench.pass(9000);
    assert_eq!(bench.heartbeat(beat("c", 4)).member_epoch, 4);
    bench.pass(2000);
    bench.heartbeat(beat("c", 4));
    bench.pass(1);
    let found = bench.heartbeat(beat("c", 4));
    assert_eq!((found.member_epoch, told(&found)), (5, Some(vec![(3, vec![0])])));
    let described = bench.described();
    assert_eq!(described.members[0].subscribed_topic_regex.as_deref(), Some("t.*"));
    // The last one with a pattern goes, and with it what it matched.
    bench.heartbeat(beat("c", -1));
    let gone = |(_, record): &(_, Record)| matches!(record, Record::Consumer(_, ConsumerRecord::Pattern(text, None)) if text == r"x\d");
    assert!(bench.log.iter().any(gone));
    bench.check_durable();
    // Without it, nothing is left to subscribe to.
    let none = bench.heartbeat(by("", beat("a", 2)));
    assert_eq!(told(&none), Some(Vec::new()));
}

#[test]
fn a_look_up_of_patterns_goes_on_in_turns() {
    let mut bench = bench(1);
    for n in 0..60 {
        bench.topics.known.insert(format!("u{n:02}"), (crate::wire::uuid::Uuid([100 + n; 16]), 1));
    }
    bench.topic("v", 1);
    for n in 0..300 {
        let request =
            Beat { subscribed_topic_regex: Some(format!("u.*|{n}")), ..join(&format!("m{n:03}"), &[]) };
        assert_eq!(bench.heartbeat(request).error_code, ErrorCode::NONE);
    }
    bench.pass(20_000);
    bench.heartbeat(join("m000", &[]));
    bench.pass(10);
    let epoch = bench.described().group_epoch;
    assert_eq!(bench.heartbeat(join("m000", &[])).member_epoch, epoch);
    let described = bench.described();
    let given = |member: &ConsumerGroupDescribeMember| member.target_assignment.topic_partitions.len();
    assert_eq!(described.members.iter().map(given).sum::<usize>(), 60);
}

#[test]
fn a_full_group_takes_no_more() {
    let settings = Settings { consumer_max_size: 1, ..Settings::default() };
    let mut bench = Bench::new(settings);
    bench.topic("t", 1);
    bench.heartbeat(join("a", &["t"]));
    assert_eq!(bench.heartbeat(join("b", &["t"])).error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(bench.heartbeat(beat("a", 1)).error_code, ErrorCode::NONE);
}

#[test]
fn members_choose_the_assignor() {
    let mut bench = bench(2);
    bench.topic("u", 2);
    for id in ["a", "b"] {
        bench.heartbeat(Beat { server_assignor: Some("range".into()), ..join(id, &["t", "u"]) });
    }
    let described = bench.described();
    assert_eq!((described.assignor_name.as_str(), described.group_state.as_str()), ("range", "Reconciling"));
    let target = &described.members[1].target_assignment.topic_partitions;
    let target: Vec<_> =
        target.iter().map(|topic| (topic.topic_name.as_str(), &topic.partitions[..])).collect();
    assert_eq!(target, [("t", &[1][..]), ("u", &[1])]);
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!((described.members[0].member_epoch, described.members[0].member_type), (1, 1));
}

#[test]
fn offsets_are_for_members_of_the_epoch() {
    let mut bench = bench(1);
    bench.heartbeat(join("a", &["t"]));
    for (id, epoch, version, error) in [
        ("a", 1, 9, ErrorCode::NONE),
        ("a", 0, 9, ErrorCode::STALE_MEMBER_EPOCH),
        ("a", 1, 8, ErrorCode::UNSUPPORTED_VERSION),
        ("b", 1, 9, ErrorCode::UNKNOWN_MEMBER_ID),
        ("", -1, 9, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        let topics = vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 7, ..Default::default() }],
            ..Default::default()
        }];
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: epoch,
            member_id: id.into(),
            topics,
            ..Default::default()
        };
        let token = bench.ask(version, Request::OffsetCommit(request));
        let reply = response!(bench.reply(token), OffsetCommit);
        assert_eq!(reply.topics[0].partitions[0].error_code, error, "{id} {epoch}");
    }
    for (id, epoch, error) in [
        (None, -1, ErrorCode::NONE),
        (Some("a"), 1, ErrorCode::NONE),
        (Some("a"), 2, ErrorCode::STALE_MEMBER_EPOCH),
        (Some("b"), 1, ErrorCode::UNKNOWN_MEMBER_ID),
    ] {
        let request = OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: id.map(str::to_string),
            member_epoch: epoch,
            topics: None,
        };
        let token = bench.ask(9, Request::OffsetFetch(request, true));
        let reply = response!(bench.reply(token), OffsetFetch);
        assert_eq!((reply.error_code, reply.topics.len()), (error, usize::from(error.is_none())));
    }
}

#[test]
fn what_the_log_refuses_has_not_happened() {
    let mut bench = bench(2);
    bench.heartbeat(join("a", &["t"]));
    bench.prompt = false;
    let chance = bench.chance();
    let b = bench.ask(1, Request::ConsumerHeartbeat(join("b", &["t"]), chance));
    let a = bench.ask(1, Request::ConsumerHeartbeat(beat("a", 1), chance));
    assert!(!bench.is_answered(a) && !bench.is_answered(b), "what they would be told is not durable");
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    for token in [a, b] {
        let reply = response!(bench.reply(token), ConsumerHeartbeat);
        assert_eq!(reply.error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    }
    bench.check_durable();
    bench.prompt = true;
    assert_eq!(bench.described().members.len(), 1);
    let on = bench.heartbeat(beat("a", 1));
    assert_eq!((on.member_epoch, told(&on)), (1, None));
    assert_eq!(bench.heartbeat(join("b", &["t"])).member_epoch, 2);
}
