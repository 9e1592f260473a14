//! `ottla serve` as an operator meets it: how it starts and stops, and what it says where it cannot.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ottla::command::client::Connection;
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    CreatableTopic, CreateTopicsRequest, DescribeConfigsRequest, DescribeConfigsResource,
};

use crate::broker::free_address;
use crate::support::{Folder, OTTLA, Outcome, run};

/// How long anything may take before the test counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that was begun, and what it says.
pub struct Serve {
    process: Child,
    out: PathBuf,
    err: PathBuf,
}

/// A broker in this folder, on a port of the system's choice, that tells of its life in JSON.
pub fn serve(data: &Path) -> Command {
    serve_at(data, "127.0.0.1:0")
}

fn serve_at(data: &Path, address: &str) -> Command {
    let mut command = Command::new(OTTLA);
    command.args(["--output", "json", "serve", "--cores", "1", "--profile", "small"]);
    command.args(["--listen", address, "--data-dir"]).arg(data);
    command
}

impl Serve {
    /// Begins it; what it says goes to files in `folder`.
    pub fn begin(folder: &Folder, command: &mut Command) -> Serve {
        let number = std::fs::read_dir(&folder.0).unwrap().count();
        let [out, err] = ["out", "err"].map(|name| folder.0.join(format!("{name}-{number}")));
        let process = command
            .env_remove("OTTLA_BOOTSTRAP")
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Serve { process, out, err }
    }

    /// What it has told of its life.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.out).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The event of this name, if it was told.
    pub fn event(&self, name: &str) -> Option<serde_json::Value> {
        self.events().into_iter().find(|event| event["event"] == name)
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until it serves; gives its address.
    #[track_caller]
    pub fn ready(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ready) = self.event("ready") {
                return ready["listeners"][0].as_str().unwrap().to_owned();
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}: {}", self.log());
            assert!(Instant::now() < deadline, "it did not start in time: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is our own and was not waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn ended(mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status.code().unwrap_or(-1),
                None => assert!(Instant::now() < deadline, "it did not end in time: {}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Outcome { code, out: std::fs::read_to_string(&self.out).unwrap(), err: self.log() }
    }

    /// Asks it to stop, and waits.
    #[track_caller]
    pub fn stop(self) -> Outcome {
        self.signal(libc::SIGTERM);
        self.ended()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the folder bears the sign of a clean stop.
fn is_clean(data: &Path) -> bool {
    data.join(".kafka_cleanshutdown").exists()
}

/// Begins a broker that cannot start; gives its last words.
#[track_caller]
fn refused(command: &mut Command, code: i32) -> String {
    Serve::begin(&Folder::new(), command).ended().fails(code)
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no '{word}' in: {text}");
    }
}

#[test]
fn it_stops_cleanly_and_the_next_start_says_so() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let folder = Folder::new();
        let data = folder.0.join("data");
        let mut broker = Serve::begin(&folder, &mut serve(&data));
        broker.ready();
        assert_eq!(broker.event("starting").unwrap()["stopped_cleanly"], false);
        broker.signal(signal);
        let ended = broker.ended();
        says(&ended.out, &["\"stopping\"", "\"ended\""]);
        ended.ok();
        assert!(is_clean(&data));

        let mut broker = Serve::begin(&folder, &mut serve(&data));
        broker.ready();
        assert_eq!(broker.event("starting").unwrap()["stopped_cleanly"], true);
        assert!(!is_clean(&data), "the sign is gone while it runs");
        broker.signal(libc::SIGKILL);
        broker.ended();

        let mut broker = Serve::begin(&folder, &mut serve(&data));
        broker.ready();
        assert_eq!(broker.event("starting").unwrap()["stopped_cleanly"], false);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let mut broker = Serve::begin(&folder, &mut serve(&data));
    broker.ready();
    // Both are there before it can do anything about the first.
    [libc::SIGSTOP, libc::SIGTERM, libc::SIGINT, libc::SIGCONT]
        .iter()
        .for_each(|signal| broker.signal(*signal));
    let code = broker.ended().code;
    assert!([128 + libc::SIGTERM, 128 + libc::SIGINT].contains(&code), "{code}");
    assert!(!is_clean(&data));
}

#[test]
fn it_needs_no_argument_but_a_free_port() {
    let folder = Folder::new();
    let mut command = Command::new(OTTLA);
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(&folder.0);
    let broker = Serve::begin(&folder, &mut command);
    let deadline = Instant::now() + PATIENCE;
    let said = || std::fs::read_to_string(&broker.out).unwrap();
    while !said().contains("Ready.") {
        assert!(Instant::now() < deadline, "{} {}", said(), broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    says(&said(), &["cores", "memory", "data", "disk", "node", "listener", "127.0.0.1:", "Ctrl-C"]);
    assert!(folder.0.join("ottla-data/meta.properties").exists());
    says(&broker.stop().ok(), &["Stopping"]);
    assert!(is_clean(&folder.0.join("ottla-data")));
}

#[test]
fn it_outlives_those_who_read_its_words() {
    let folder = Folder::new();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut broker = Command::new(OTTLA)
        .args(["serve", "--cores", "1", "--profile", "small", "--listen", &address, "--data-dir"])
        .arg(folder.0.join("data"))
        .env("OTTLA_LOG", "trace")
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while run(&["-b", &address, "--request-timeout-ms", "1000", "topic", "create", "t"], b"").code != 0 {
        assert!(Instant::now() < deadline && broker.try_wait().unwrap().is_none(), "it serves");
    }
    // SAFETY: the process is our own and was not waited for.
    assert_eq!(unsafe { libc::kill(broker.id() as i32, libc::SIGTERM) }, 0);
    assert!(broker.wait().unwrap().success());
    assert!(is_clean(&folder.0.join("data")));
}

#[test]
fn a_folder_has_one_broker() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let mut first = Serve::begin(&folder, &mut serve(&data));
    let address = first.ready();
    let pid = format!("process {}", first.process.id());
    let said = refused(&mut serve(&data), 1);
    says(&said, &[data.to_str().unwrap(), "in use by another broker", &pid, "--data-dir"]);
    run(&["-b", &address, "topic", "create", "still-served"], b"").ok();
    first.stop().ok();
}

#[test]
fn a_port_has_one_owner() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap();
    let said = refused(&mut serve_at(&data, &address.to_string()), 1);
    says(&said, &[&format!("port {} of 127.0.0.1 is in use", address.port()), "ss -ltnp", "--listen"]);

    let said = refused(&mut serve_at(&data, "192.0.2.1:9092"), 1);
    says(&said, &["192.0.2.1:9092", "no such address", "advertised.listeners"]);
    let said = refused(&mut serve_at(&data, "localhost"), 2);
    says(&said, &["HOST:PORT", "127.0.0.1:9092"]);
}

#[test]
fn a_folder_belongs_to_its_node_and_its_version() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let mut broker = Serve::begin(&folder, &mut serve(&data));
    broker.ready();
    broker.stop().ok();
    let path = data.join("meta.properties");
    let good = std::fs::read_to_string(&path).unwrap();

    for (found, instead, words) in [
        ("node.id=1", "node.id=7", &["belongs to node 7", "this is node 1", "log.dirs", "node.id=7"][..]),
        ("ottla.format=1", "ottla.format=2", &["format 2", "newer Ottla", "run the newer version"]),
        ("version=1", "version=9", &["version 9 is not known"]),
    ] {
        assert!(good.contains(found));
        std::fs::write(&path, good.replace(found, instead)).unwrap();
        let said = refused(&mut serve(&data), 1);
        says(&said, &[&[path.to_str().unwrap()], words].concat());
        assert!(is_clean(&data), "nothing was changed");
    }
    std::fs::write(&path, &good).unwrap();
    let config = folder.0.join("server.properties");
    std::fs::write(&config, "node.id=7\n").unwrap();
    let said = refused(serve(&data).arg("--config").arg(&config), 1);
    says(&said, &["belongs to node 1", "this is node 7"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_told() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let said = refused(&mut serve(&path), 1);
        says(&said, &[path.to_str().unwrap(), "a file is in its place or on the way to it", "--data-dir"]);
    }

    let closed = folder.0.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    for path in [closed.clone(), closed.join("below")] {
        let mut command = serve(&path);
        // SAFETY: system calls only, between fork and exec.
        unsafe { command.pre_exec(without_roots_way_past_permissions) };
        let said = refused(&mut command, 1);
        says(
            &said,
            &[path.to_str().unwrap(), "Permission denied", "let this user write there", "--data-dir"],
        );
    }
}

/// Root may write anywhere; a child that lacks these capabilities may not.
fn without_roots_way_past_permissions() -> std::io::Result<()> {
    const DAC_OVERRIDE: libc::c_ulong = 1;
    const DAC_READ_SEARCH: libc::c_ulong = 2;
    // SAFETY: plain system calls.
    unsafe {
        if libc::geteuid() == 0 {
            for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
                if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
        }
    }
    Ok(())
}

/// Has the kernel answer io_uring_setup with this error, as a container's seccomp profile does.
fn forbid_io_uring(error: i32) -> std::io::Result<()> {
    let [load, jump, answer] =
        [libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET];
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        op(load, 0, 0, 0),
        op(jump, 0, 1, libc::SYS_io_uring_setup as u32),
        op(answer, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        op(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the calls.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) < 0
    };
    if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn where_io_uring_is_blocked_the_cure_is_told() {
    let folder = Folder::new();
    for error in [libc::EPERM, libc::ENOSYS] {
        let mut command = serve(&folder.0.join("data"));
        // SAFETY: system calls only, between fork and exec.
        unsafe { command.pre_exec(move || forbid_io_uring(error)) };
        let said = refused(&mut command, 1);
        says(&said, &["io_uring is not available", "seccomp filter", "seccomp=unconfined", "io_uring_setup"]);
        assert!(!folder.0.join("data").exists(), "nothing was made");
    }
}

#[test]
fn locked_memory_is_enough_or_named() {
    let folder = Folder::new();
    let mut command = serve(&folder.0.join("data"));
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a system call only, between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    let mut broker = Serve::begin(&folder, &mut command);
    // Newer kernels charge rings to the memory of the cgroup, and the limit does not matter.
    let deadline = Instant::now() + PATIENCE;
    while broker.event("ready").is_none() {
        if broker.process.try_wait().unwrap().is_some() {
            return says(&broker.log(), &["locked memory is 0 KiB", "ulimit -l unlimited"]);
        }
        assert!(Instant::now() < deadline, "{}", broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    broker.stop().ok();
}

#[test]
fn a_settings_file_is_held_to_account() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let config = folder.0.join("server.properties");
    let with = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let mut command = serve(&data);
        command.arg("--config").arg(&config);
        command
    };
    let file = config.to_str().unwrap();
    let said = refused(&mut with("# ours\nnode.id=1\n\nnum.partitions=many\nlog.retention.hours=x\n"), 1);
    says(&said, &[&format!("{file}, line 4: num.partitions"), "many", &format!("{file}, line 5")]);
    says(&refused(&mut with("a=1\nb=\\u12\n"), 1), &[&format!("{file}, line 2"), "\\u"]);
    let said = refused(serve(&data).args(["--config", "/no/such/file"]), 1);
    says(&said, &["/no/such/file cannot be read", "--config"]);

    let mut noted = with("num.partition=3\nzookeeper.connect=x:2181\nbackground.threads=5\n");
    let mut broker = Serve::begin(&folder, &mut noted);
    broker.ready();
    let at = |line: usize| format!("{file}, line {line}: ");
    says(
        &broker.log(),
        &[&at(1), "Did you mean 'num.partitions'?", &at(2), "Kafka 4 does not have it", &at(3)],
    );
    broker.stop().ok();
}

/// A file in the form of the one that comes with Kafka starts a broker, which tells what does nothing in it; and what
/// was set at run time goes before it.
#[test]
fn kafkas_own_file_is_accepted_and_told_of() {
    let folder = Folder::new();
    let config = folder.0.join("server.properties");
    let text = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
                listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
                advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
                controller.listener.names=CONTROLLER\nnum.io.threads=8\nlog.dirs=/tmp/kraft-combined-logs\n\
                listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\nmessage.max.bytes=2000000\n\
                num.partitions=3\nlog.retention.hours=168\ntransaction.state.log.min.isr=1\n";
    std::fs::write(&config, text).unwrap();
    let address = free_address();
    let mut command = serve_at(&folder.0.join("data"), &address);
    let mut broker = Serve::begin(&folder, command.arg("--config").arg(&config));
    broker.ready();
    says(&broker.log(), &["line 8: num.io.threads: ignored: each core serves its own connections"]);
    assert!(!broker.log().contains("message.max.bytes"), "what acts is not told of");
    let mut client = Connection::open(&address, Duration::from_secs(60)).unwrap();
    let mut shown = || {
        let keys = vec!["message.max.bytes".to_owned(), "num.partitions".to_owned()];
        let resource = DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".to_owned(),
            configuration_keys: Some(keys),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let rows = client.call(&request).unwrap().results.remove(0).configs;
        rows.into_iter().map(|row| (row.value.unwrap(), row.config_source)).collect::<Vec<_>>()
    };
    assert_eq!(shown(), [("2000000".to_owned(), 4), ("3".to_owned(), 4)]);
    let set = ["-b", &address, "config", "set", "message.max.bytes=3000000", "--cluster"];
    run(&set, &[]).ok();
    assert_eq!(shown(), [("3000000".to_owned(), 3), ("3".to_owned(), 4)]);
    run(&["-b", &address, "config", "delete", "message.max.bytes", "--cluster"], &[]).ok();
    assert_eq!(shown()[0], ("2000000".to_owned(), 4));
    broker.stop().ok();
}

#[test]
fn a_profile_is_held_to_account() {
    let folder = Folder::new();
    let profile = folder.0.join("mine.toml");
    let with = |text: &str| {
        std::fs::write(&profile, text).unwrap();
        let mut command = Command::new(OTTLA);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.0.join("data"));
        command.arg("--profile").arg(&profile);
        command
    };
    let file = profile.to_str().unwrap();
    let said = refused(&mut with("[core]\n\nring_dept = 64\n"), 1);
    says(&said, &[&format!("{file}, line 3"), "ring_dept", "Did you mean 'ring_depth'?"]);
    says(&refused(&mut with("memory = \"16PiB\"\n"), 1), &[&format!("{file}, line 1"), "memory"]);
    says(&refused(&mut with("memory = \"900TiB\"\n"), 1), &[file, "MiB of memory", "lower 'memory'"]);
    says(&refused(&mut with("[core.4000]\npartitions = 1\n"), 1), &[file]);
    let mut command = serve(&folder.0.join("data"));
    let said = refused(command.args(["--profile", "fast"]), 2);
    says(&said, &["--profile"]);
    let mut command = Command::new(OTTLA);
    let said = refused(command.args(["serve", "--profile", "fast"]), 1);
    says(&said, &["fast", "throughput", "many-partitions"]);
    let mut command = Command::new(OTTLA);
    says(&refused(command.args(["serve", "--cores", "8000-8001"]), 2), &["CPU 8000", "may use the CPUs"]);
}

#[test]
fn connections_leave_files_for_the_logs() {
    const FILES: u64 = 200;
    let folder = Folder::new();
    let mut command = serve(&folder.0.join("data"));
    let few = libc::rlimit { rlim_cur: FILES, rlim_max: FILES };
    // SAFETY: a system call only, between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &few) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    let mut broker = Serve::begin(&folder, &mut command);
    let address = broker.ready();
    let mut client = Connection::open(&address, PATIENCE).unwrap();
    // As many as there are files; the last of them wait to be accepted.
    let others: Vec<_> = (0..FILES).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let deadline = Instant::now() + PATIENCE;
    while !broker.log().contains("max.connections") {
        assert!(Instant::now() < deadline, "{}", broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let wanted = CreatableTopic {
        name: "many-files".into(),
        num_partitions: 30,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: 30_000, ..Default::default() };
    let created = client.call(&request).unwrap();
    assert_eq!(created.topics[0].error_code, ErrorCode::NONE, "{}", broker.log());
    drop((client, others));
    run(&["-b", &address, "produce", "-t", "many-files"], b"a\nb\n").ok();
    broker.stop().ok();
}
