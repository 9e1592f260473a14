use super::*;
use crate::controller::testing::{Chance, cluster_of, create, registration, topic};

fn cores_of(image: &Image, name: &str, broker: i32) -> Vec<usize> {
    let topic = image.topic_named(name).unwrap();
    topic.partitions.values().filter_map(|p| p.core_on(broker)).collect()
}

#[test]
fn partitions_of_one_broker_alternate_over_its_cores() {
    let mut controller = cluster_of(&[registration(1, None, &[1, 1])]);
    create(&mut controller, vec![topic("a", 5, 1), topic("b", 4, 1)]);
    assert_eq!(cores_of(controller.image(), "a", 1), [0, 1, 0, 1, 0]);
    // The core that has less begins.
    assert_eq!(cores_of(controller.image(), "b", 1), [1, 0, 1, 0]);
    // Many topics of one partition spread as well, be it in one request or in many.
    create(&mut controller, (0..10).map(|i| topic(&format!("one{i}"), 1, 1)).collect());
    for i in 0..9 {
        create(&mut controller, vec![topic(&format!("each{i}"), 1, 1)]);
    }
    let loads = [controller.image().load(1, 0), controller.image().load(1, 1)];
    assert_eq!(loads.map(|load| load.leaders), [14, 14]);
}

#[test]
fn weights_count_and_a_core_without_weight_gets_nothing() {
    let mut controller = cluster_of(&[registration(1, None, &[2, 0, 1])]);
    create(&mut controller, vec![topic("a", 30, 1)]);
    let loads: Vec<u32> = (0..3).map(|core| controller.image().load(1, core).leaders).collect();
    assert_eq!(loads, [20, 0, 10]);
}

#[test]
fn replicas_lie_in_different_racks_and_leaders_are_even() {
    let racks = [Some("x"), Some("x"), Some("y"), Some("y"), Some("z"), Some("z")];
    let brokers: Vec<_> = (1..).zip(racks).map(|(id, rack)| registration(id, rack, &[1, 1])).collect();
    let mut controller = cluster_of(&brokers);
    create(&mut controller, vec![topic("a", 36, 3)]);
    let image = controller.image();
    for partition in image.topic_named("a").unwrap().partitions.values() {
        let mut racks: Vec<_> =
            partition.replicas.iter().map(|id| image.broker(*id).unwrap().rack.clone()).collect();
        racks.sort();
        racks.dedup();
        assert_eq!(racks.len(), 3, "{:?}", partition.replicas);
    }
    for broker in 1..=6 {
        let loads = [image.load(broker, 0), image.load(broker, 1)];
        assert_eq!(loads.map(|load| load.leaders).iter().sum::<u32>(), 6);
        assert_eq!(loads.map(|load| load.replicas).iter().sum::<u32>(), 18);
    }
}

#[test]
fn a_fenced_broker_follows_only_if_it_must_and_never_leads() {
    let mut away = registration(2, None, &[1]);
    away.fenced = true;
    let mut controller = cluster_of(&[registration(1, None, &[1]), away, registration(3, None, &[1])]);
    create(&mut controller, vec![topic("two", 4, 2), topic("three", 4, 3)]);
    let image = controller.image();
    for partition in image.topic_named("two").unwrap().partitions.values() {
        assert!(!partition.replicas.contains(&2));
    }
    for partition in image.topic_named("three").unwrap().partitions.values() {
        assert!(partition.replicas[0] != 2 && partition.leader != 2);
        assert!(partition.replicas.contains(&2) && !partition.isr.contains(&2));
    }
}

#[test]
fn log_directories_fill_evenly() {
    let mut broker = registration(1, None, &[1]);
    broker.log_dirs = (1..=3).map(|n| Uuid([n; 16])).collect();
    let directories = broker.log_dirs.clone();
    let mut controller = cluster_of(&[broker]);
    create(&mut controller, vec![topic("a", 4, 1)]);
    create(&mut controller, vec![topic("b", 5, 1)]);
    let loads: Vec<u32> = directories.iter().map(|dir| controller.image().directory_load(*dir)).collect();
    assert_eq!(loads, [3, 3, 3]);
}

/// Whatever the cluster and the topics: no core of equal weight has more than its even share of a topic's leaders
/// plus one, nor of all leaders plus what the remainders of the topics on it may add up to.
#[test]
fn each_topic_is_even_over_cores_and_brokers() {
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        let cores = 1 + chance.below(4) as usize;
        let count = 1 + chance.below(5) as i32;
        let brokers: Vec<_> = (0..count).map(|id| registration(id, None, &vec![1; cores])).collect();
        let mut controller = cluster_of(&brokers);
        for t in 0..10 {
            let (partitions, replicas) = (1 + chance.below(40) as i32, 1 + chance.below(count as u64) as i16);
            create(&mut controller, vec![topic(&format!("t{t}"), partitions, replicas)]);
            let topic = controller.image().topic_named(&format!("t{t}")).unwrap();
            let places = (0..count).flat_map(|b| (0..cores).map(move |core| (b, core)));
            let leads = places.map(|(broker, core)| {
                topic
                    .partitions
                    .values()
                    .filter(|p| p.leader == broker && p.core_on(broker) == Some(core))
                    .count()
            });
            let leads: Vec<usize> = leads.collect();
            let (least, most) = (leads.iter().min().unwrap(), leads.iter().max().unwrap());
            assert!(most - least <= 1, "seed {seed}, topic t{t}: {leads:?}");
        }
        let places: Vec<_> = (0..count).flat_map(|b| (0..cores).map(move |core| (b, core))).collect();
        let loads: Vec<u32> =
            places.iter().map(|(b, core)| controller.image().load(*b, *core).leaders).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 2, "seed {seed}: {loads:?}");
    }
}
