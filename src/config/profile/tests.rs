use super::*;

const GIB: usize = 1 << 30;

fn read(text: &str) -> Profile {
    Profile::read(text, "p.toml").unwrap_or_else(|e| panic!("{e}"))
}

fn resolve(text: &str, cpus: &[usize]) -> Vec<CoreProfile> {
    read(text).resolve(cpus, 8 * GIB).unwrap_or_else(|e| panic!("{e}"))
}

fn wrong(text: &str) -> String {
    match Profile::read(text, "p.toml").and_then(|profile| profile.resolve(&[0, 1], GIB)) {
        Ok(_) => panic!("{text:?} is accepted"),
        Err(BadProfile(what)) => what,
    }
}

#[test]
fn an_empty_profile_uses_every_core_alike() {
    let cores = resolve("", &[4, 6, 9]);
    assert_eq!(cores.iter().map(|c| c.cpu).collect::<Vec<_>>(), [Some(4), Some(6), Some(9)]);
    assert!(cores.iter().all(|c| c.partitions == 1 && c.connections));
    assert_eq!(cores.iter().filter(|c| c.controller).count(), 1);
    assert_eq!(cores.iter().filter(|c| c.admin).count(), 1);
    assert!(cores[0].controller);
    let spec = CoreSpec::default();
    assert_eq!((cores[0].ring_depth, cores[0].shares), (spec.ring_depth, spec.shares));
    assert_eq!(cores[0].memory, 8 * GIB / 2 / 3);
    assert_eq!(cores[0].cache, None);
    assert_eq!(cores[0].growth, Steps::default());
}

#[test]
fn one_cores_own_keys_go_before_those_of_all() {
    let text = r#"
        cores = 2
        memory = "4GiB"
        [core]
        ring_depth = 2048
        spin_before_park_us = 50
        shares = { request = 900, background = 10 }
        growth_max = "8MiB"
        [core.0]
        partitions = false
        controller = true
        spin_before_park_us = 0
        memory = "64MiB"
        cache = 4096
        shares.background = 20
        [core.1]
        partitions = 3
        controller = false
        cpu = 7
    "#;
    let cores = resolve(text, &[0, 1, 2]);
    assert_eq!(cores.len(), 2);
    assert_eq!((cores[0].partitions, cores[1].partitions), (0, 3));
    assert_eq!((cores[0].controller, cores[1].controller), (true, false));
    assert_eq!(
        (cores[0].spin_before_park, cores[1].spin_before_park),
        (Duration::ZERO, Duration::from_micros(50))
    );
    assert_eq!((cores[0].memory, cores[0].cache, cores[1].memory), (64 << 20, Some(4096), 2 * GIB));
    assert_eq!((cores[0].cpu, cores[1].cpu), (Some(0), Some(7)));
    assert_eq!(cores[0].shares, [900, 500, 500, 300, 20]);
    assert_eq!(cores[1].shares, [900, 500, 500, 300, 10]);
    assert!(cores.iter().all(|c| c.growth.most == 8 << 20 && c.ring_depth == 2048));
    let spec = cores[1].core_spec();
    assert_eq!((spec.cpu, spec.memory, spec.ring_depth), (Some(7), 2 * GIB, 2048));
}

#[test]
fn mistakes_are_told_with_their_line_and_a_remedy() {
    for (text, part) in [
        (
            "\n[core]\nring_dept = 1",
            "p.toml, line 3: there is no key 'ring_dept' here. Did you mean 'ring_depth'?",
        ),
        ("memroy = 1", "p.toml, line 1: there is no key 'memroy' here. Did you mean 'memory'?"),
        ("[core.0]\nspin = 1", "line 2: there is no key 'spin' here. The keys are: cpu, partitions"),
        ("[core]\nshares = { fetches = 1 }", "Did you mean 'fetch'?"),
        ("[core]\nring_depth = 1000", "a power of two from 16 to 32768"),
        ("[core]\nring_depth = 8", "a whole number from 16 to 32768"),
        ("[core]\npreempt_us = 0", "'preempt_us' is a whole number from 10 to 100000"),
        ("[core]\nconnections = 1", "'connections' is true or false"),
        ("[core]\npartitions = \"all\"", "true, false, or a weight"),
        ("[core]\nflush = \"own\"", "there is no key 'flush' here"),
        ("[core]\nmemory = \"lots\"", "\"auto\", a size such as \"512MiB\""),
        ("[core]\nmemory = \"1MiB\"", "the least is 16MiB"),
        ("[core]\ngrowth_min = 1000", "a multiple of 4KiB"),
        ("[core]\ngrowth_min = \"1MiB\"\ngrowth_max = \"512KiB\"", "'growth_min' is larger"),
        ("[core]\nmemory = \"32MiB\"\ncache = \"64MiB\"", "'cache' is a part of 'memory'"),
        ("[core]\ncpu = 1", "write it in [core.0]"),
        ("[core.2]\npartitions = 1", "[core.2] is for a core that is not used: the cores are 0 to 1"),
        ("[core.99999]\n", "no such core"),
        ("core = 5", "a table"),
        ("cores = 3", "wants 3 cores, but this process may use 2"),
        ("cores = 0", "a whole number from 1"),
        ("memory = \"2GiB\"", "and there are 1024 MiB"),
        ("[core]\npartitions = false", "'partitions' is false for every core"),
        ("[core]\nconnections = false", "'connections' is false for every core"),
        ("[core]\ncontroller = false", "'controller' is false for every core"),
        ("[core\n", "p.toml, line 1:"),
        ("[core]\n\nmemory = = 2", "p.toml, line 3:"),
    ] {
        let told = wrong(text);
        assert!(told.contains(part), "{text:?}: {told}");
    }
}

#[test]
fn cores_can_be_written_out_and_numbers_in_other_bases() {
    assert_eq!(resolve("cores = \"all\"", &[0, 1]).len(), 2);
    assert_eq!(resolve("[core]\nring_depth = 0x400", &[0])[0].ring_depth, 1024);
    assert_eq!(resolve("memory = 1_073_741_824", &[0])[0].memory, GIB);
}

#[test]
fn a_small_machine_gives_each_core_the_least_that_it_needs_or_says_that_it_cannot() {
    let cores = Profile::default().resolve(&[0, 1], 40 << 20).unwrap();
    assert!(cores.iter().all(|core| core.memory == CORE_MEMORY_MIN));
    let error = Profile::default().resolve(&[0, 1], 31 << 20).unwrap_err().to_string();
    assert!(error.contains("fewer 'cores'"), "{error}");
}

/// Each file of `tuning/` can be used on machines small and large.
#[test]
fn the_profiles_that_come_with_it_are_valid() {
    for (name, text) in READY_MADE {
        let profile = Profile::read(text, name).unwrap_or_else(|e| panic!("{e}"));
        for cores in [1, 2, 64] {
            let cpus: Vec<usize> = (0..cores).collect();
            for memory in [2 * GIB, 512 * GIB] {
                profile.resolve(&cpus, memory).unwrap_or_else(|e| panic!("{name}, {cores} cores: {e}"));
            }
        }
    }
    let default = read(ready_made("default").unwrap());
    let (written, empty) = (default.resolve(&[0, 1], GIB), Profile::default().resolve(&[0, 1], GIB));
    assert_eq!(written, empty, "default.toml says what holds without a file");
}
