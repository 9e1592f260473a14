//! What every assignment must be, for random groups, and a few known ones.

use super::*;

fn topic(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn task(members: &[(&str, &[u8])], partitions: &[(u8, i32)]) -> Task {
    let members = members.iter().map(|(id, topics)| {
        let topics = Arc::new(topics.iter().map(|n| topic(*n)).collect());
        (Name::from(*id), Subscriber { topics, ..Default::default() })
    });
    let partitions = partitions.iter().map(|(n, partitions)| (topic(*n), *partitions));
    Task { members: members.collect(), partitions: partitions.collect() }
}

fn counts(given: &Given) -> Vec<usize> {
    given.values().map(|assignment| assignment.values().map(BTreeSet::len).sum()).collect()
}

/// Every partition that somebody subscribes to has one owner, who subscribes to it.
fn check(task: &Task, given: &Given) {
    assert!(given.keys().eq(task.members.keys()));
    let mut owned: BTreeSet<(Uuid, i32)> = BTreeSet::new();
    for (id, assignment) in given {
        for (topic, partitions) in assignment {
            assert!(!partitions.is_empty() && task.members[id].topics.contains(topic));
            for partition in partitions {
                assert!(owned.insert((*topic, *partition)), "two own {partition}");
            }
        }
    }
    let wanted: BTreeSet<Uuid> =
        task.members.values().flat_map(|member| member.topics.iter().copied()).collect();
    let all =
        wanted.iter().flat_map(|topic| (0..task.partitions_of(topic)).map(|partition| (*topic, partition)));
    assert!(owned.into_iter().eq(all));
}

/// The next round: everybody has what it was given.
fn after(mut task: Task, given: &Given) -> Task {
    for (id, member) in &mut task.members {
        member.assignment = given.get(id).cloned().unwrap_or_default();
    }
    task
}

fn moves(before: &Given, now: &Given) -> usize {
    let all = |given: &Given| -> BTreeMap<(Uuid, i32), Name> {
        let rows = given.iter().flat_map(|(id, assignment)| {
            assignment.iter().flat_map(move |(t, ps)| ps.iter().map(move |p| ((*t, *p), id.clone())))
        });
        rows.collect()
    };
    let (before, now) = (all(before), all(now));
    now.iter().filter(|(key, id)| before.get(*key).is_some_and(|was| was != *id)).count()
}

#[test]
fn ranges_are_alike_for_topics_of_one_size() {
    let mut task = task(&[("a", &[1, 2, 3]), ("b", &[1, 2]), ("c", &[1, 2])], &[(1, 5), (2, 5), (3, 2)]);
    task.members.get_mut("c").unwrap().instance = Some("first".into());
    let given = range(&task);
    check(&task, &given);
    let of = |id: &str, n: u8| {
        given[id].get(&topic(n)).map(|partitions| partitions.iter().copied().collect::<Vec<_>>())
    };
    for n in [1, 2] {
        assert_eq!((of("c", n), of("a", n), of("b", n)), (Some(vec![0, 1]), Some(vec![2, 3]), Some(vec![4])));
    }
    assert_eq!(of("a", 3), Some(vec![0, 1]));
}

#[test]
fn a_new_member_takes_its_share_and_no_more_moves() {
    let one = task(&[("a", &[1]), ("b", &[1])], &[(1, 7)]);
    let given = uniform(&one);
    check(&one, &given);
    assert_eq!(counts(&given), [4, 3]);
    let three = after(task(&[("a", &[1]), ("b", &[1]), ("c", &[1])], &[(1, 7)]), &given);
    let now = uniform(&three);
    check(&three, &now);
    let mut sorted = counts(&now);
    sorted.sort_unstable();
    assert_eq!((sorted, moves(&given, &now)), (vec![2, 2, 3], 2));
    assert_eq!(uniform(&after(three.clone(), &now)), now, "nothing moves where nothing has changed");
}

#[test]
fn what_does_not_exist_is_given_to_nobody() {
    let task = task(&[("a", &[1, 9]), ("b", &[9])], &[(1, 1)]);
    assert_eq!((counts(&range(&task)), counts(&uniform(&task))), (vec![1, 0], vec![1, 0]));
    assert!(uniform(&Task::default()).is_empty() && range(&Task::default()).is_empty());
}

#[test]
fn random_groups_are_in_balance_and_stay_as_they_are() {
    let mut state = 1u64;
    let mut below = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for round in 0..400 {
        let topics = 1 + below(4) as u8;
        let partitions: Vec<(u8, i32)> = (1..=topics).map(|n| (n, below(9) as i32)).collect();
        let same: Vec<u8> = (1..=topics).collect();
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        for n in 0..1 + below(7) {
            let some: Vec<u8> = same.iter().copied().filter(|_| below(2) == 0).collect();
            members.push((format!("m{n}"), if round % 2 == 0 { same.clone() } else { some }));
        }
        let rows: Vec<(&str, &[u8])> =
            members.iter().map(|(id, topics)| (id.as_str(), topics.as_slice())).collect();
        let first = task(&rows, &partitions);
        check(&first, &range(&first));
        let given = uniform(&first);
        check(&first, &given);
        in_balance(&first, &given);
        assert_eq!(uniform(&after(first.clone(), &given)), given);
        // One goes.
        if rows.len() > 1 {
            let fewer = after(task(&rows[1..], &partitions), &given);
            let now = uniform(&fewer);
            check(&fewer, &now);
            in_balance(&fewer, &now);
        }
    }
}

/// Nobody could give a partition to one who has at least two less.
fn in_balance(task: &Task, given: &Given) {
    let load = |id: &Name| given[id].values().map(BTreeSet::len).sum::<usize>();
    for (id, assignment) in given {
        for topic in assignment.keys() {
            for (other, member) in &task.members {
                if member.topics.contains(topic) {
                    assert!(load(id) < load(other) + 2, "{id} has {} and {other} {}", load(id), load(other));
                }
            }
        }
    }
}
