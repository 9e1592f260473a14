//! Records that are taken back, and members that follow their targets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reconcile::{Around, Current, STABLE, Target, UNRELEASED, UNREVOKED};
use super::*;
use crate::coordinator::assign::{Assignment, Subscriber, Task, range, uniform};
use crate::coordinator::names::Name;
use crate::coordinator::records::Record;
use crate::wire::uuid::Uuid;

const TOPIC: Uuid = Uuid([7; 16]);

fn partitions(partitions: &[i32]) -> Assignment {
    match partitions.is_empty() {
        true => Assignment::new(),
        false => Assignment::from([(TOPIC, partitions.iter().copied().collect())]),
    }
}

fn records() -> Vec<ConsumerRecord> {
    use ConsumerRecord::*;
    vec![
        Epoch(Some(ConsumerGroupMetadataValue { epoch: 3, ..Default::default() })),
        Member(
            "m".into(),
            Some(ConsumerGroupMemberMetadataValue { client_id: "c".into(), ..Default::default() }),
        ),
        TargetEpoch(Some(ConsumerGroupTargetAssignmentMetadataValue { assignment_epoch: 3 })),
        Target("m".into(), Some(ConsumerGroupTargetAssignmentMemberValue::default())),
        Current(
            "m".into(),
            Some(ConsumerGroupCurrentMemberAssignmentValue { member_epoch: 3, ..Default::default() }),
        ),
        Topics(Some(ConsumerGroupPartitionMetadataValue::default())),
        Pattern("a.*".into(), Some(ConsumerGroupRegularExpressionValue { version: 5, ..Default::default() })),
    ]
}

#[test]
fn each_record_comes_back_as_it_went() {
    for record in records() {
        for record in [record.clone(), record.tombstone()] {
            let record = Record::Consumer("g".into(), record);
            let (key, value) = record.encode().unwrap();
            assert_eq!(Record::decode(key, value).unwrap().unwrap(), record);
        }
    }
}

#[test]
fn what_replays_is_taken_back_and_tombstones_leave_nothing() {
    let mut group = Consumer::default();
    let mut undo = Vec::new();
    let mut states = vec![group.clone()];
    for record in records().into_iter().chain(records().into_iter().map(|record| record.tombstone())) {
        undo.push(group.replay(record));
        states.push(group.clone());
    }
    assert!(group.is_gone());
    for (undo, before) in undo.into_iter().zip(states).rev() {
        group.replay(undo);
        assert_eq!(group, before);
    }
    for record in records() {
        group.replay(record);
    }
    assert_eq!((group.state(), group.epoch(), group.len()), (ConsumerState::Stable, 3, 1));
    group.replay(ConsumerRecord::Epoch(Some(ConsumerGroupMetadataValue { epoch: 4, ..Default::default() })));
    assert_eq!(group.state(), ConsumerState::Assigning);
    for tombstone in group.tombstones() {
        group.replay(tombstone);
    }
    assert!(group.is_gone() && group.state() == ConsumerState::Empty);
}

#[test]
fn a_member_gives_up_before_it_moves_on() {
    let now = Current { epoch: 5, assigned: partitions(&[1, 2]), ..Default::default() };
    let assignment = partitions(&[2, 3, 4]);
    let target = Target { epoch: 7, assignment: &assignment };
    let free = |_: &Uuid, partition: i32| partition == 4;
    let step = |now: &Current, owned: Option<&Assignment>, is_held: &dyn Fn(&Uuid, i32) -> bool| {
        let around = Around { owned, has_new_subscription: false, is_subscribed: &|_| true, is_held };
        now.towards(target, &around).unwrap()
    };
    let gives = step(&now, Some(&partitions(&[1, 2])), &free);
    assert_eq!((gives.epoch, gives.state), (5, UNREVOKED));
    assert_eq!((&gives.assigned, &gives.revoking), (&partitions(&[2]), &partitions(&[1])));
    // It has not given up, or does not say.
    assert_eq!(step(&gives, Some(&partitions(&[1, 2])), &free), gives);
    assert_eq!(step(&gives, None, &free), gives);
    let waits = step(&gives, Some(&partitions(&[2])), &free);
    assert_eq!((waits.epoch, waits.previous_epoch, waits.state), (7, 5, UNRELEASED));
    assert_eq!((&waits.assigned, &waits.revoking), (&partitions(&[2, 3]), &partitions(&[])));
    let done = step(&waits, None, &|_, _| false);
    assert_eq!((done.epoch, done.previous_epoch, done.state), (7, 7, STABLE));
    assert_eq!(done.assigned, assignment);
    assert_eq!(step(&done, None, &|_, _| false), done);
}

/// Members that come and go, targets that change while they are on their way: no partition is ever with two, and
/// everybody gets to the last target.
#[test]
fn members_that_follow_their_targets_never_share_a_partition() {
    let mut state = 11u64;
    let mut below = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for round in 0..300 {
        let mut members: BTreeMap<Name, Current> = BTreeMap::new();
        // What each client really has: it follows its heartbeats some time later.
        let mut has: BTreeMap<Name, Assignment> = BTreeMap::new();
        let mut targets: BTreeMap<Name, Assignment> = BTreeMap::new();
        let (mut epoch, mut next) = (0, 0);
        let mut calm = 0;
        for step in 0..1000 {
            let changes = step < 60 && below(4) == 0;
            if changes {
                match members.len() > 1 && below(3) == 0 {
                    true => {
                        let gone = members.keys().nth(below(members.len() as u64) as usize).unwrap().clone();
                        members.remove(&gone);
                        has.remove(&gone);
                    }
                    false => {
                        let id: Name = format!("m{next}").into();
                        next += 1;
                        members.insert(id.clone(), Current::default());
                        has.insert(id, Assignment::new());
                    }
                }
                epoch += 1;
                let topics = Arc::new(BTreeSet::from([TOPIC]));
                let subscriber = |id: &Name| Subscriber {
                    instance: None,
                    topics: topics.clone(),
                    assignment: targets.get(id).cloned().unwrap_or_default(),
                };
                let task = Task {
                    members: members.keys().map(|id| (id.clone(), subscriber(id))).collect(),
                    partitions: BTreeMap::from([(TOPIC, 7)]),
                };
                targets = if round % 2 == 0 { uniform(&task) } else { range(&task) };
            }
            let Some(id) = members.keys().nth(below(members.len().max(1) as u64) as usize).cloned() else {
                continue;
            };
            // The client gives up what it is told to, and takes what it is given.
            if below(2) == 0 {
                has.insert(id.clone(), members[&id].assigned.clone());
            }
            let held = |topic: &Uuid, partition: i32| {
                members.iter().any(|(other, member)| {
                    let holds =
                        |held: &Assignment| held.get(topic).is_some_and(|held| held.contains(&partition));
                    *other != id && (holds(&member.assigned) || holds(&member.revoking))
                })
            };
            let target = Target { epoch, assignment: &targets[&id] };
            let around = Around {
                owned: Some(&has[&id]),
                has_new_subscription: false,
                is_subscribed: &|_| true,
                is_held: &held,
            };
            let moved = members[&id].towards(target, &around).unwrap();
            assert!(moved.epoch >= members[&id].epoch && moved.epoch <= epoch);
            members.insert(id.clone(), moved);
            let mut owners: BTreeSet<i32> = BTreeSet::new();
            for (id, has) in &has {
                for partition in has.values().flatten() {
                    assert!(owners.insert(*partition), "{id} has {partition}, and another has it too");
                }
            }
            let all_there = members.iter().all(|(id, member)| {
                member.state == STABLE && member.epoch == epoch && member.assigned == targets[id]
            });
            calm = if step >= 60 && all_there { calm + 1 } else { 0 };
            if calm > 3 {
                break;
            }
        }
        assert!(calm > 3, "round {round} does not converge");
    }
}

#[test]
fn what_is_not_subscribed_any_more_is_given_up_before_there_is_a_target_without_it() {
    let now = Current { epoch: 5, assigned: partitions(&[1, 2]), ..Default::default() };
    let assignment = partitions(&[1, 2]);
    let target = Target { epoch: 5, assignment: &assignment };
    let step = |now: &Current, owned: Option<&Assignment>| {
        let around =
            Around { owned, has_new_subscription: true, is_subscribed: &|_| false, is_held: &|_, _| false };
        now.towards(target, &around).unwrap()
    };
    let gives = step(&now, None);
    assert_eq!((gives.epoch, gives.state), (5, UNREVOKED));
    assert_eq!((&gives.assigned, &gives.revoking), (&partitions(&[]), &assignment));
    let gone = step(&gives, Some(&partitions(&[])));
    assert_eq!((gone.state, &gone.assigned, &gone.revoking), (STABLE, &partitions(&[]), &partitions(&[])));
    assert_eq!(step(&now, Some(&partitions(&[]))).state, STABLE);
    let strange = Current { state: 9, ..now };
    let around =
        Around { owned: None, has_new_subscription: false, is_subscribed: &|_| true, is_held: &|_, _| false };
    assert_eq!(strange.towards(target, &around), None);
}
