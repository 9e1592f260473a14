use super::*;

const LIMITS: SessionLimits =
    SessionLimits { sessions: 2, partitions: 100, eviction: Duration::from_secs(120) };

fn wanted(topic: &str, partition: i32, offset: i64) -> Wanted {
    Wanted {
        key: (TopicKey::Name(topic.into()), partition),
        offset,
        max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn opening(id: i32, epoch: i32, parts: Vec<Wanted>) -> Opening {
    Opening { id, epoch, parts, ..Opening::default() }
}

const QUIET: News = News { must_tell: false, records: false, high_watermark: 10, log_start_offset: 0 };
const RECORDS: News = News { records: true, ..QUIET };
const ERROR: News = News { must_tell: true, records: false, high_watermark: -1, log_start_offset: -1 };

fn seconds(n: u64) -> Nanos {
    Nanos(n * 1_000_000_000)
}

/// A full fetch of these parts that makes a session.
fn create(sessions: &mut Sessions, parts: Vec<Wanted>, news: &[News], now: Nanos) -> i32 {
    let (context, parts) = sessions.open(opening(0, INITIAL, parts), now).unwrap();
    let closing = sessions.close(context, &parts, news, now, 7 + now.0).unwrap();
    assert!(closing.tell.iter().all(|tell| *tell), "a full answer names everything");
    closing.id
}

/// An incremental fetch; gives the partitions that were read in order, and those that are told.
fn go_on(sessions: &mut Sessions, opening: Opening, news: &[News]) -> (Vec<i32>, Vec<i32>) {
    let (context, parts) = sessions.open(opening, Nanos(0)).unwrap();
    let order: Vec<i32> = parts.iter().map(|part| part.key.1).collect();
    let closing = sessions.close(context, &parts, news, Nanos(0), 0).unwrap();
    let told = order.iter().zip(closing.tell).filter(|(_, tell)| *tell).map(|(part, _)| *part);
    (order.clone(), told.collect())
}

#[test]
fn only_changes_are_told() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let parts = vec![wanted("t", 0, 5), wanted("t", 1, 5), wanted("t", 2, 5)];
    let id = create(&mut sessions, parts, &[QUIET; 3], Nanos(0));
    assert!(id > 0);
    assert_eq!(go_on(&mut sessions, opening(id, 1, vec![]), &[QUIET; 3]), (vec![0, 1, 2], vec![]));

    let moved = News { high_watermark: 11, ..QUIET };
    assert_eq!(go_on(&mut sessions, opening(id, 2, vec![]), &[QUIET, moved, QUIET]).1, vec![1]);
    assert_eq!(go_on(&mut sessions, opening(id, 3, vec![]), &[QUIET, moved, QUIET]).1, Vec::<i32>::new());

    let cut = News { log_start_offset: 3, ..QUIET };
    assert_eq!(go_on(&mut sessions, opening(id, 4, vec![]), &[cut, moved, QUIET]).1, vec![0]);
}

#[test]
fn an_error_is_told_each_time_and_so_is_its_end() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let id = create(&mut sessions, vec![wanted("t", 0, 5)], &[QUIET], Nanos(0));
    assert_eq!(go_on(&mut sessions, opening(id, 1, vec![]), &[ERROR]).1, vec![0]);
    assert_eq!(go_on(&mut sessions, opening(id, 2, vec![]), &[ERROR]).1, vec![0]);
    assert_eq!(go_on(&mut sessions, opening(id, 3, vec![]), &[QUIET]).1, vec![0]);
    assert_eq!(go_on(&mut sessions, opening(id, 4, vec![]), &[QUIET]).1, Vec::<i32>::new());
}

#[test]
fn who_gave_records_goes_behind_the_others() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let parts = vec![wanted("t", 0, 5), wanted("t", 1, 5), wanted("t", 2, 5)];
    let id = create(&mut sessions, parts, &[RECORDS, QUIET, QUIET], Nanos(0));
    let (order, told) = go_on(&mut sessions, opening(id, 1, vec![]), &[RECORDS, QUIET, QUIET]);
    assert_eq!((order, told), (vec![1, 2, 0], vec![1]));
    assert_eq!(go_on(&mut sessions, opening(id, 2, vec![]), &[QUIET; 3]).0, vec![2, 0, 1]);
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let id = create(&mut sessions, vec![wanted("t", 0, 5), wanted("t", 1, 5)], &[QUIET; 2], Nanos(0));
    let mut next = opening(id, 1, vec![wanted("t", 1, 8), wanted("u", 7, 0)]);
    next.forgotten = vec![(TopicKey::Name("t".into()), 0), (TopicKey::Name("nobody".into()), 3)];
    let (context, parts) = sessions.open(next, Nanos(0)).unwrap();
    assert_eq!(parts, vec![wanted("t", 1, 8), wanted("u", 7, 0)]);
    let closing = sessions.close(context, &parts, &[QUIET; 2], Nanos(0), 0).unwrap();
    assert_eq!(closing.tell, vec![false, true], "what is new to the session is told");
    assert_eq!(sessions.partitions, 2);
}

#[test]
fn a_session_without_partitions_ends() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let id = create(&mut sessions, vec![wanted("t", 0, 5)], &[QUIET], Nanos(0));
    let mut last = opening(id, 1, vec![]);
    last.forgotten = vec![(TopicKey::Name("t".into()), 0)];
    assert_eq!(sessions.open(last, Nanos(0)), Ok((Context::Sessionless, vec![])));
    assert!(sessions.is_empty());
    assert_eq!(sessions.open(opening(id, 2, vec![]), Nanos(0)), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
}

#[test]
fn epochs_and_ids_are_checked() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let id = create(&mut sessions, vec![wanted("t", 0, 5)], &[QUIET], Nanos(0));
    let refused = |sessions: &mut Sessions, opening| sessions.open(opening, Nanos(0)).unwrap_err();
    assert_eq!(refused(&mut sessions, opening(id + 1, 1, vec![])), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(refused(&mut sessions, opening(0, 5, vec![])), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(refused(&mut sessions, opening(id, 2, vec![])), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let by_id = Opening { by_id: true, ..opening(id, 1, vec![]) };
    assert_eq!(refused(&mut sessions, by_id), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    // None of these used up an epoch.
    assert_eq!(go_on(&mut sessions, opening(id, 1, vec![]), &[QUIET]).0, vec![0]);
}

#[test]
fn who_goes_on_meanwhile_wins() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let id = create(&mut sessions, vec![wanted("t", 0, 5)], &[QUIET], Nanos(0));
    let (first, parts) = sessions.open(opening(id, 1, vec![]), Nanos(0)).unwrap();
    let (second, again) = sessions.open(opening(id, 2, vec![]), Nanos(0)).unwrap();
    let stale = sessions.close(first, &parts, &[RECORDS], Nanos(0), 0);
    assert_eq!(stale, Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
    assert!(sessions.close(second, &again, &[RECORDS], Nanos(0), 0).is_ok());
}

#[test]
fn epochs_wrap_round_to_one() {
    assert_eq!(next_epoch(i32::MAX), 1);
}

#[test]
fn a_full_cache_declines_or_evicts() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let small = create(&mut sessions, vec![wanted("t", 0, 5)], &[QUIET], seconds(0));
    let other = create(&mut sessions, vec![wanted("t", 0, 5), wanted("t", 1, 5)], &[QUIET; 2], seconds(1));
    let two = vec![wanted("u", 0, 5), wanted("u", 1, 5)];
    assert_eq!(create(&mut sessions, two.clone(), &[QUIET; 2], seconds(2)), 0, "both are in use");

    // Both are still used, and had their time: the larger may take the place of the smaller.
    for (id, n) in [(small, 1), (other, 2)] {
        sessions.sessions.get_mut(&id).unwrap().used = seconds(130);
        assert_eq!(sessions.sessions[&id].parts.len(), n);
    }
    assert_eq!(create(&mut sessions, vec![wanted("u", 0, 5)], &[QUIET], seconds(131)), 0, "it is not larger");
    let third = create(&mut sessions, two.clone(), &[QUIET; 2], seconds(131));
    assert!(third > 0 && !sessions.sessions.contains_key(&small));

    // Unused for long: goes whatever its size.
    let fourth = create(&mut sessions, vec![wanted("u", 0, 5)], &[QUIET], seconds(251));
    assert!(fourth > 0 && !sessions.sessions.contains_key(&other));
    assert_eq!((sessions.len(), sessions.partitions), (2, 3));
}

#[test]
fn partitions_are_bounded() {
    let mut sessions = Sessions::new(SessionLimits { partitions: 3, ..LIMITS }, 0, 1);
    let many = |n| (0..n).map(|i| wanted("t", i, 0)).collect::<Vec<_>>();
    assert_eq!(create(&mut sessions, many(4), &[QUIET; 4], Nanos(0)), 0);
    let id = create(&mut sessions, many(2), &[QUIET; 2], Nanos(0));
    assert!(id > 0);
    let grown = sessions.open(opening(id, 1, many(4)), Nanos(0));
    assert_eq!(grown, Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!((sessions.len(), sessions.partitions), (0, 0));
}

#[test]
fn ids_say_their_core() {
    for core in 0..3 {
        let mut sessions = Sessions::new(SessionLimits { sessions: 9, ..LIMITS }, core, 3);
        let mut ids = Vec::new();
        for chance in [0, 0, u64::MAX, 1 << 40] {
            let part = vec![wanted("t", 0, 0)];
            let (context, parts) = sessions.open(opening(0, INITIAL, part), Nanos(0)).unwrap();
            ids.push(sessions.close(context, &parts, &[QUIET], Nanos(0), chance).unwrap().id);
        }
        assert!(ids.iter().all(|id| *id > 0 && *id as usize % 3 == core), "{ids:?}");
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}

#[test]
fn a_partition_named_twice_is_read_once() {
    let mut sessions = Sessions::new(LIMITS, 0, 1);
    let parts = vec![wanted("t", 0, 1), wanted("t", 1, 2), wanted("t", 0, 3)];
    let (_, parts) = sessions.open(opening(0, FINAL, parts), Nanos(0)).unwrap();
    assert_eq!(parts, vec![wanted("t", 0, 3), wanted("t", 1, 2)]);
}
