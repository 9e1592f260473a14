//! The rules of classic groups, one by one.

use bytes::Bytes;

use super::bench::{Bench, response};
use crate::coordinator::group::State;
use crate::coordinator::records::Record;
use crate::coordinator::{Request, Settings, Token};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

const SESSION: i32 = 10_000;
const REBALANCE: i32 = 20_000;

/// What a member sends when it joins.
#[derive(Clone)]
pub struct Who {
    pub version: i16,
    pub id: String,
    pub instance: Option<String>,
    pub protocols: Vec<JoinGroupRequestProtocol>,
}

pub fn protocol(name: &str, metadata: &'static str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

pub fn dynamic(id: &str) -> Who {
    Who { version: 9, id: id.into(), instance: None, protocols: vec![protocol("range", "m")] }
}

pub fn fixed(instance: &str) -> Who {
    Who { instance: Some(instance.into()), ..dynamic("") }
}

fn bench() -> Bench {
    Bench::new(Settings::default())
}

impl Bench {
    fn join_as(&mut self, who: &Who, session_timeout_ms: i32, protocol_type: &str) -> Token {
        let request = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms,
            rebalance_timeout_ms: REBALANCE,
            member_id: who.id.clone(),
            group_instance_id: who.instance.clone(),
            protocol_type: protocol_type.into(),
            protocols: who.protocols.clone(),
            reason: None,
        };
        let chance = self.chance();
        self.ask(who.version, Request::Join(request, chance))
    }

    pub fn join(&mut self, who: &Who) -> Token {
        self.join_as(who, SESSION, "consumer")
    }

    pub fn joined(&mut self, token: Token) -> JoinGroupResponse {
        response!(self.reply(token), Join)
    }

    /// A new dynamic member gets an id and joins with it.
    pub fn join_new(&mut self) -> (Token, String) {
        let token = self.join(&dynamic(""));
        let reply = self.joined(token);
        assert_eq!(reply.error_code, ErrorCode::MEMBER_ID_REQUIRED);
        (self.join(&dynamic(&reply.member_id)), reply.member_id)
    }

    pub fn sync(&mut self, id: &str, generation_id: i32, assignments: &[(&str, &'static str)]) -> Token {
        let assignments = assignments
            .iter()
            .map(|(id, bytes)| SyncGroupRequestAssignment {
                member_id: id.to_string(),
                assignment: Bytes::from_static(bytes.as_bytes()),
            })
            .collect();
        let request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id,
            member_id: id.into(),
            assignments,
            ..Default::default()
        };
        self.ask(5, Request::Sync(request))
    }

    pub fn synced(&mut self, token: Token) -> (ErrorCode, Bytes) {
        let reply = response!(self.reply(token), Sync);
        (reply.error_code, reply.assignment)
    }

    pub fn beat(&mut self, id: &str, generation_id: i32, instance: Option<&str>) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id,
            member_id: id.into(),
            group_instance_id: instance.map(str::to_string),
        };
        let token = self.ask(4, Request::Heartbeat(request));
        response!(self.reply(token), Heartbeat).error_code
    }

    pub fn leave(&mut self, version: i16, members: &[(&str, Option<&str>)]) -> LeaveGroupResponse {
        let identities = members.iter().map(|(id, instance)| MemberIdentity {
            member_id: id.to_string(),
            group_instance_id: instance.map(str::to_string),
            reason: None,
        });
        let request = match version < 3 {
            true => LeaveGroupRequest {
                group_id: "g".into(),
                member_id: members[0].0.into(),
                ..Default::default()
            },
            false => LeaveGroupRequest {
                group_id: "g".into(),
                members: identities.collect(),
                ..Default::default()
            },
        };
        let token = self.ask(version, Request::Leave(request));
        response!(self.reply(token), Leave)
    }

    pub fn state(&self) -> State {
        self.machine().group("g").unwrap().state()
    }

    pub fn generation(&self) -> i32 {
        self.machine().group("g").unwrap().classic().unwrap().generation()
    }

    /// Lets time pass until there is a reply.
    fn await_reply(&mut self, token: Token) {
        for _ in 0..100 {
            if self.is_answered(token) {
                return;
            }
            self.pass(500);
        }
        panic!("{token:?} is never answered");
    }

    /// A stable group of so many dynamic members, the leader first.
    pub fn stable(&mut self, members: usize) -> Vec<String> {
        let joins: Vec<(Token, String)> = (0..members).map(|_| self.join_new()).collect();
        self.await_reply(joins[0].0);
        let mut ids = Vec::new();
        let mut generation = 0;
        for (token, id) in joins {
            let reply = self.joined(token);
            assert_eq!((reply.error_code, &reply.member_id), (ErrorCode::NONE, &id));
            generation = reply.generation_id;
            match reply.leader == id {
                true => ids.insert(0, id),
                false => ids.push(id),
            }
        }
        let assignments: Vec<(&str, &'static str)> = ids.iter().map(|id| (id.as_str(), "a")).collect();
        let leader = self.sync(&ids[0], generation, &assignments);
        assert_eq!(self.synced(leader), (ErrorCode::NONE, Bytes::from("a")));
        for id in &ids[1..] {
            let token = self.sync(id, generation, &[]);
            assert_eq!(self.synced(token), (ErrorCode::NONE, Bytes::from("a")));
        }
        assert_eq!(self.state(), State::Stable);
        ids
    }
}

#[test]
fn a_first_rebalance_waits_for_more_members_but_not_for_ever() {
    let mut bench = bench();
    let (first, a) = bench.join_new();
    // Each step of three seconds in which a member came is followed by another.
    let mut joins = vec![first];
    for _ in 0..4 {
        bench.pass(2900);
        joins.push(bench.join_new().0);
        bench.pass(100);
    }
    assert!(joins.iter().all(|token| !bench.is_answered(*token)));
    bench.pass(3000);
    assert!(joins.iter().all(|token| bench.is_answered(*token)));
    let reply = bench.joined(first);
    assert_eq!((reply.generation_id, reply.leader, reply.members.len()), (1, a, 5));
    assert_eq!(
        (reply.protocol_name.as_deref(), reply.protocol_type.as_deref()),
        (Some("range"), Some("consumer"))
    );
    let follower = bench.joined(joins[1]);
    assert!(follower.members.is_empty() && !follower.skip_assignment);
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn a_first_rebalance_lasts_no_longer_than_the_rebalance_timeout() {
    let mut bench = bench();
    let (first, _) = bench.join_new();
    let mut waited = 0;
    while !bench.is_answered(first) {
        bench.pass(1000);
        waited += 1;
        bench.join_new();
        assert!(waited < 60);
    }
    assert!((20..=24).contains(&waited), "{waited}");
}

#[test]
fn old_versions_join_without_an_id_and_hear_no_null() {
    let mut bench = bench();
    let token = bench.join(&Who { version: 3, ..dynamic("") });
    bench.pass(4000);
    let reply = bench.joined(token);
    assert_eq!((reply.error_code, reply.generation_id), (ErrorCode::NONE, 1));
    assert!(reply.member_id.starts_with("client-"));
    assert_eq!(reply.member_id.len(), "client-".len() + 36);
    for version in 0..=6 {
        let token = bench.join(&Who { version, ..dynamic("unknown") });
        let reply = bench.joined(token);
        assert_eq!(reply.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(reply.protocol_name.as_deref(), Some(""));
    }
    let token = bench.join(&dynamic("unknown"));
    assert_eq!(bench.joined(token).protocol_name, None);
}

#[test]
fn joins_that_cannot_be() {
    let mut bench = bench();
    let error = |bench: &mut Bench, token| bench.joined(token).error_code;
    for session in [5999, 1_800_001] {
        let token = bench.join_as(&dynamic(""), session, "consumer");
        assert_eq!(error(&mut bench, token), ErrorCode::INVALID_SESSION_TIMEOUT);
    }
    let token = bench.join(&dynamic("who"));
    assert_eq!(error(&mut bench, token), ErrorCode::UNKNOWN_MEMBER_ID);
    assert!(bench.machine().group("g").is_none(), "nothing was made");
    let token = bench.join(&Who { protocols: Vec::new(), ..dynamic("") });
    assert_eq!(error(&mut bench, token), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    bench.stable(1);
    let token = bench.join_as(&dynamic(""), SESSION, "connect");
    assert_eq!(error(&mut bench, token), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let token = bench.join(&Who { protocols: vec![protocol("other", "m")], ..dynamic("") });
    assert_eq!(error(&mut bench, token), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

#[test]
fn most_votes_choose_among_what_all_support() {
    let mut bench = bench();
    let likes = |names: &[&str]| Who {
        version: 3,
        protocols: names.iter().map(|name| protocol(name, "m")).collect(),
        ..dynamic("")
    };
    let tokens = [
        bench.join(&likes(&["x", "b", "a"])),
        bench.join(&likes(&["a", "b"])),
        bench.join(&likes(&["b", "a", "y"])),
    ];
    bench.pass(30_000);
    for token in tokens {
        assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("b"));
    }
}

#[test]
fn the_leader_hands_in_and_everybody_fetches_when_it_is_committed() {
    let mut bench = bench();
    let (a, b) = (bench.join_new(), bench.join_new());
    bench.await_reply(a.0);
    let leader = bench.joined(a.0).leader;
    let follower = if leader == a.1 { b.1.clone() } else { a.1.clone() };
    let waits = bench.sync(&follower, 1, &[]);
    assert!(!bench.is_answered(waits));
    bench.prompt = false;
    let hands = bench.sync(&leader, 1, &[(&leader, "l"), (&follower, "f")]);
    let late = bench.sync(&follower, 1, &[]);
    bench.append();
    assert!(!bench.is_answered(waits) && !bench.is_answered(hands) && !bench.is_answered(late));
    bench.commit(bench.log.len());
    assert_eq!(bench.synced(waits), (ErrorCode::NONE, Bytes::from("f")));
    assert_eq!(bench.synced(hands), (ErrorCode::NONE, Bytes::from("l")));
    assert_eq!(bench.synced(late), (ErrorCode::NONE, Bytes::from("f")));
    let Some((_, Record::Group(_, Some(value)))) = bench.log.last() else { panic!() };
    assert_eq!((value.generation, value.members.len(), value.leader.as_ref()), (1, 2, Some(&leader)));
    assert_eq!(value.members[0].client_host, "/127.0.0.1");
    assert_eq!(value.members[0].subscription, "m");
}

#[test]
fn syncs_that_cannot_be() {
    let mut bench = bench();
    let token = bench.sync("who", 1, &[]);
    assert_eq!(bench.synced(token).0, ErrorCode::UNKNOWN_MEMBER_ID);
    let ids = bench.stable(2);
    for (id, generation, error) in [
        ("who", 1, ErrorCode::UNKNOWN_MEMBER_ID),
        (ids[0].as_str(), 0, ErrorCode::ILLEGAL_GENERATION),
        (ids[0].as_str(), 2, ErrorCode::ILLEGAL_GENERATION),
    ] {
        let token = bench.sync(id, generation, &[]);
        assert_eq!(bench.synced(token).0, error);
    }
    let request = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: ids[0].clone(),
        protocol_name: Some("other".into()),
        ..Default::default()
    };
    let token = bench.ask(5, Request::Sync(request));
    assert_eq!(bench.synced(token).0, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    bench.join_new();
    let token = bench.sync(&ids[0], 1, &[]);
    assert_eq!(bench.synced(token).0, ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut bench = bench();
    let ids = bench.stable(2);
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
    let (new, _) = bench.join_new();
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let again = bench.join(&dynamic(&ids[0]));
    assert!(!bench.is_answered(new));
    let last = bench.join(&dynamic(&ids[1]));
    for token in [new, again, last] {
        assert_eq!(bench.joined(token).generation_id, 2);
    }
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.beat(&ids[0], 2, None), ErrorCode::NONE);
}

#[test]
fn who_does_not_join_again_is_out() {
    let mut bench = bench();
    let ids = bench.stable(2);
    let (new, _) = bench.join_new();
    let again = bench.join(&dynamic(&ids[0]));
    for _ in 0..4 {
        bench.pass(4999);
        assert_eq!(bench.beat(&ids[1], 1, None), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    bench.pass(10);
    assert_eq!(bench.joined(again).generation_id, 2);
    assert_eq!(bench.joined(new).generation_id, 2);
    assert_eq!(bench.beat(&ids[1], 2, None), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_follower_that_joins_unchanged_is_told_what_it_knows_and_the_leader_starts_a_rebalance() {
    let mut bench = bench();
    let ids = bench.stable(2);
    let token = bench.join(&dynamic(&ids[1]));
    let reply = bench.joined(token);
    assert_eq!(
        (reply.generation_id, reply.leader.as_str(), bench.state()),
        (1, ids[0].as_str(), State::Stable)
    );
    bench.join(&dynamic(&ids[0]));
    assert_eq!(bench.state(), State::PreparingRebalance);
    let token = bench.join(&dynamic(&ids[1]));
    assert_eq!(bench.joined(token).generation_id, 2);
    // Its answer was lost: it is told again. What has changed makes all join again.
    let token = bench.join(&dynamic(&ids[1]));
    assert_eq!(bench.joined(token).generation_id, 2);
    bench.join(&Who { protocols: vec![protocol("range", "n")], ..dynamic(&ids[1]) });
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn a_silent_member_is_out_and_a_heartbeat_or_commit_keeps_it_in() {
    let mut bench = bench();
    let ids = bench.stable(2);
    for _ in 0..5 {
        bench.pass(9999);
        assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
        let value = super::offsets::commit(&mut bench, &ids[1], 1, None, 5);
        assert_eq!(value, ErrorCode::NONE);
    }
    bench.pass(5000);
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
    bench.pass(5000);
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.beat(&ids[1], 1, None), ErrorCode::UNKNOWN_MEMBER_ID);
    bench.pass(60_000);
    assert_eq!(bench.state(), State::Empty);
    // An empty group is as its record says, and no more is kept of it.
    assert!(bench.machine().group("g").unwrap().classic().is_none());
    let stored = bench.machine().group("g").unwrap().stored().unwrap().clone();
    assert_eq!((stored.generation, stored.members.len(), stored.protocol_type.as_str()), (2, 0, "consumer"));
    assert_eq!(bench.machine().timers(), 1);
}

#[test]
fn who_does_not_fetch_its_assignment_is_out() {
    let mut bench = bench();
    let (a, b) = (bench.join_new(), bench.join_new());
    bench.pass(6000);
    let leader = bench.joined(a.0).leader;
    let follower = if leader == a.1 { b.1 } else { a.1 };
    let token = bench.sync(&leader, 1, &[]);
    assert_eq!(bench.synced(token).0, ErrorCode::NONE);
    for _ in 0..4 {
        bench.pass(5000);
        bench.beat(&leader, 1, None);
        bench.beat(&follower, 1, None);
    }
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.beat(&follower, 1, None), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_id_that_is_not_used_is_forgotten() {
    let mut bench = bench();
    let token = bench.join(&dynamic(""));
    let id = bench.joined(token).member_id;
    assert!(bench.machine().group("g").unwrap().awaits_members());
    bench.pass(SESSION as u64 + 1);
    assert!(!bench.machine().group("g").unwrap().awaits_members());
    let token = bench.join(&dynamic(&id));
    assert_eq!(bench.joined(token).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn members_leave_one_by_one_in_a_batch_or_by_instance() {
    let mut bench = bench();
    let ids = bench.stable(2);
    let reply = bench.leave(1, &[(&ids[1], None)]);
    assert_eq!((reply.error_code, reply.members.len()), (ErrorCode::NONE, 0));
    assert_eq!(bench.leave(2, &[(&ids[1], None)]).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let token = bench.join(&fixed("i"));
    let leader = bench.join(&dynamic(&ids[0]));
    let id = bench.joined(token).member_id;
    assert_eq!(bench.joined(leader).generation_id, 2);
    let members = [
        (ids[0].as_str(), None),
        ("who", None),
        (id.as_str(), Some("j")),
        ("", Some("j")),
        ("x", Some("i")),
        ("", Some("i")),
    ];
    let reply = bench.leave(3, &members);
    let errors: Vec<ErrorCode> = reply.members.iter().map(|member| member.error_code).collect();
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    assert_eq!(
        errors,
        [ErrorCode::NONE, unknown, unknown, unknown, ErrorCode::FENCED_INSTANCE_ID, ErrorCode::NONE]
    );
    assert_eq!(reply.members[5].group_instance_id.as_deref(), Some("i"));
    assert_eq!(bench.state(), State::Empty);
}

/// A stable group of one static member, its leader, under this id.
fn static_alone(bench: &mut Bench) -> String {
    let token = bench.join(&fixed("i"));
    bench.pass(4000);
    let id = bench.joined(token).member_id;
    assert!(id.starts_with("i-"));
    let token = bench.sync(&id, 1, &[(&id, "a")]);
    assert_eq!(bench.synced(token).0, ErrorCode::NONE);
    id
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_its_old_id_is_fenced() {
    let mut bench = bench();
    let old = static_alone(&mut bench);
    let token = bench.join(&fixed("i"));
    let reply = bench.joined(token);
    assert_eq!((reply.error_code, reply.generation_id, bench.state()), (ErrorCode::NONE, 1, State::Stable));
    // It leads, and is told all a leader is told, and not to assign.
    assert!(reply.skip_assignment && reply.leader == reply.member_id && reply.members.len() == 1);
    let new = reply.member_id;
    assert_ne!(new, old);
    assert_eq!(bench.beat(&old, 1, Some("i")), ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(bench.beat(&new, 1, Some("i")), ErrorCode::NONE);
    let token = bench.join(&Who { id: old.clone(), ..fixed("i") });
    assert_eq!(bench.joined(token).error_code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(super::offsets::commit(&mut bench, &old, 1, Some("i"), 5), ErrorCode::FENCED_INSTANCE_ID);
    let token = bench.sync(&new, 1, &[]);
    assert_eq!(bench.synced(token), (ErrorCode::NONE, Bytes::from("a")));
    bench.check_durable();
    bench.restart();
    assert_eq!(bench.beat(&new, 1, Some("i")), ErrorCode::NONE);
}

#[test]
fn before_version_9_a_static_leader_is_told_that_another_leads() {
    let mut bench = bench();
    let old = static_alone(&mut bench);
    let token = bench.join(&Who { version: 8, ..fixed("i") });
    let reply = bench.joined(token);
    assert!(!reply.skip_assignment && reply.leader == old && reply.members.is_empty());
}

#[test]
fn a_static_member_with_another_protocol_makes_all_join_again() {
    let mut bench = bench();
    static_alone(&mut bench);
    let token = bench.join(&Who { protocols: vec![protocol("range", "n")], ..fixed("i") });
    assert_eq!(bench.joined(token).generation_id, 1);
    let token = bench.join(&Who { protocols: vec![protocol("range", "n"), protocol("x", "")], ..fixed("i") });
    assert_eq!(bench.joined(token).generation_id, 1);
    let all = bench.machine().group("g").unwrap().stored().unwrap().members[0].subscription.clone();
    assert_eq!(all, "n");
    let token = bench.join(&Who { protocols: vec![protocol("x", "n"), protocol("range", "")], ..fixed("i") });
    let reply = bench.joined(token);
    assert_eq!((reply.generation_id, reply.protocol_name.as_deref()), (2, Some("x")));
}

#[test]
fn a_static_member_whose_record_is_refused_has_its_old_id() {
    let mut bench = bench();
    let old = static_alone(&mut bench);
    bench.prompt = false;
    let token = bench.join(&fixed("i"));
    assert!(!bench.is_answered(token));
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    assert_eq!(bench.joined(token).error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    bench.prompt = true;
    assert_eq!(bench.beat(&old, 1, Some("i")), ErrorCode::NONE);
    assert_eq!(bench.state(), State::Stable);
    bench.check_durable();
}

#[test]
fn a_static_member_that_waits_under_its_old_id_is_answered() {
    let mut bench = bench();
    let waits = bench.join(&fixed("i"));
    let token = bench.join(&fixed("i"));
    assert_eq!(bench.joined(waits).error_code, ErrorCode::FENCED_INSTANCE_ID);
    bench.pass(4000);
    let id = bench.joined(token).member_id;
    bench.join_new();
    assert_eq!(bench.state(), State::PreparingRebalance);
    let again = bench.join(&Who { id, ..fixed("i") });
    let new = bench.joined(again);
    assert_eq!(new.generation_id, 2);
    let follower = bench.machine().group("g").unwrap().classic().unwrap();
    let follower = follower.members().find(|member| member.instance.is_none()).unwrap().id.to_string();
    let waits = bench.sync(&follower, 2, &[]);
    // Its id may have been given to the leader already: all join again.
    bench.join(&fixed("i"));
    assert_eq!(bench.synced(waits).0, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn a_group_holds_no_more_than_it_may() {
    let mut bench = Bench::new(Settings { max_size: 2, ..Settings::default() });
    let ids = bench.stable(2);
    let token = bench.join(&dynamic(""));
    let reply = bench.joined(token);
    assert_eq!((reply.error_code, reply.member_id.as_str()), (ErrorCode::GROUP_MAX_SIZE_REACHED, ""));
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
    // The operator allows fewer: after a restart, the last to join again is out.
    bench.settings.max_size = 1;
    bench.restart();
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let first = bench.join(&dynamic(&ids[0]));
    let second = bench.join(&dynamic(&ids[1]));
    assert_eq!(bench.joined(second).error_code, ErrorCode::GROUP_MAX_SIZE_REACHED);
    bench.pass(20_000);
    assert_eq!(bench.joined(first).generation_id, 2);
}

#[test]
fn an_assignment_that_is_refused_is_told_to_nobody_and_all_join_again() {
    let mut bench = bench();
    let ids = bench.stable(2);
    let tokens = [bench.join(&dynamic(&ids[0])), bench.join(&dynamic(&ids[1]))];
    for token in tokens {
        assert_eq!(bench.joined(token).generation_id, 2);
    }
    bench.prompt = false;
    let follower = bench.sync(&ids[1], 2, &[]);
    let leader = bench.sync(&ids[0], 2, &[(&ids[0], "l"), (&ids[1], "f")]);
    bench.refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    let error = (ErrorCode::NOT_COORDINATOR, Bytes::new());
    assert_eq!((bench.synced(leader), bench.synced(follower)), (error.clone(), error));
    bench.check_durable();
    bench.prompt = true;
    assert_eq!(bench.beat(&ids[1], 2, None), ErrorCode::REBALANCE_IN_PROGRESS);
    let tokens = [bench.join(&dynamic(&ids[0])), bench.join(&dynamic(&ids[1]))];
    for token in tokens {
        assert_eq!(bench.joined(token).generation_id, 3, "a generation that was told is not told again");
    }
}

#[test]
fn a_group_whose_first_record_is_refused_is_gone_with_all_who_wait() {
    let mut bench = bench();
    bench.prompt = false;
    let first = bench.join(&Who { version: 3, ..dynamic("") });
    let second = bench.join(&dynamic(""));
    bench.refuse(ErrorCode::NOT_ENOUGH_REPLICAS);
    for token in [first, second] {
        assert_eq!(bench.joined(token).error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    }
    assert!(bench.machine().group("g").is_none());
    assert_eq!(bench.machine().timers(), 1);
}

#[test]
fn sessions_begin_anew_when_a_coordinator_has_read_its_log() {
    let mut bench = bench();
    let ids = bench.stable(2);
    bench.pass(9000);
    bench.restart();
    bench.check_durable();
    bench.pass(9000);
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NONE);
    bench.pass(1000);
    assert_eq!(bench.beat(&ids[1], 1, None), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn the_end_answers_everybody() {
    let mut bench = bench();
    let ids = bench.stable(2);
    let (joins, _) = bench.join_new();
    bench.runtime.close(ErrorCode::NOT_COORDINATOR);
    bench.drain();
    assert_eq!(bench.joined(joins).error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(bench.beat(&ids[0], 1, None), ErrorCode::NOT_COORDINATOR);
}

#[test]
fn a_thousand_members_join_at_once() {
    let mut bench = bench();
    let tokens: Vec<(Token, String)> = (0..1000).map(|_| bench.join_new()).collect();
    bench.await_reply(tokens[0].0);
    let mut leads = 0;
    for (token, id) in tokens {
        let reply = bench.joined(token);
        assert_eq!(reply.member_id, id);
        leads += usize::from(reply.members.len() == 1000);
    }
    assert_eq!((leads, bench.generation()), (1, 1));
}
