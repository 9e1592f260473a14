//! What ends or refuses a whole process, tried in one of its own: this test binary, called for [`child`] alone.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::*;
use crate::reactor::Class;

const PART: &str = "OTTLA_TEST_PART";

/// Plays the part that its parent asks for; nothing when it runs among the tests.
#[test]
fn child() {
    match std::env::var(PART).as_deref() {
        Ok("stop") => stop(false),
        Ok("stop slowly") => stop(true),
        Ok("main panics") => panics(async |_| panic!("boom in main")),
        Ok("task panics") => panics(async |r: Reactor| {
            r.spawn(Class::Background, async { panic!("boom in a task") });
            r.sleep(Duration::from_secs(3600)).await;
        }),
        Ok("seccomp") => refused(),
        _ => {}
    }
}

fn play(part: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reactor::real::tests::processes::child", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads lines until one is `wanted`.
fn wait_for(lines: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    while !line.trim_end().ends_with(wanted) {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended before it said {wanted}");
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: plain system call on a child that was not waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn stop(slowly: bool) {
    let main = |slowly: bool| -> CoreMain {
        Box::new(move |r: Reactor| {
            Box::pin(async move {
                println!("core {} runs", r.core());
                r.stop_requested().await;
                println!("core {} stops", r.core());
                if slowly {
                    r.sleep(Duration::from_secs(3600)).await;
                }
            })
        })
    };
    run(vec![(CoreSpec::default(), main(slowly)), (CoreSpec::default(), main(slowly))]).unwrap();
    println!("all ended");
}

fn stop_child(part: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = play(part);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut lines, "runs");
    wait_for(&mut lines, "runs");
    signal(&child, libc::SIGTERM);
    wait_for(&mut lines, "stops");
    wait_for(&mut lines, "stops");
    (child, lines)
}

#[test]
fn sigterm_is_told_to_every_core() {
    let (mut child, mut lines) = stop_child("stop");
    wait_for(&mut lines, "all ended");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut child, _lines) = stop_child("stop slowly");
    signal(&child, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGINT));
}

fn panics(main: impl AsyncFnOnce(Reactor) + Send + 'static) {
    let quiet: CoreMain =
        Box::new(|r: Reactor| Box::pin(async move { r.sleep(Duration::from_secs(3600)).await }));
    let main: CoreMain = Box::new(move |r| Box::pin(main(r)));
    run(vec![(CoreSpec::default(), quiet), (CoreSpec::default(), main)]).unwrap();
}

fn last_words(part: &str) -> (ExitStatus, String) {
    let mut child = play(part);
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    (child.wait().unwrap(), words)
}

#[test]
fn a_panic_on_one_core_ends_the_process_with_a_clear_message() {
    for (part, message) in [("main panics", "boom in main"), ("task panics", "boom in a task")] {
        let (status, words) = last_words(part);
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{words}");
        assert!(words.contains(&format!("ottla: core 1 panicked: {message}")), "{words}");
    }
}

/// Forbids io_uring_setup to this process, as a container's filter does, and looks at the machine.
fn refused() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, refuse),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program is valid for its length.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
    eprintln!("refused: {}", super::super::check().unwrap_err());
}

#[test]
fn a_seccomp_filter_is_named_as_what_is_in_the_way() {
    let (status, words) = last_words("seccomp");
    assert!(status.success(), "{words}");
    assert!(words.contains("refused:") && words.contains("seccomp=unconfined"), "{words}");
}
