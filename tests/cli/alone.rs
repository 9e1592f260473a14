//! What works without a broker.

use crate::support::{Folder, run};

#[test]
fn help_teaches() {
    for command in [
        &["--help"][..],
        &["topic", "--help"],
        &["topic", "create", "--help"],
        &["produce", "--help"],
        &["consume", "--help"],
        &["dump", "--help"],
        &["bench", "--help"],
        &["bench", "produce", "--help"],
        &["completion", "--help"],
    ] {
        let help = run(command, b"").ok();
        let teaches = help.contains("Examples:") || help.contains("First steps:");
        assert!(teaches && help.contains("ottla "), "{command:?} shows no example:\n{help}");
    }
}

#[test]
fn shells_get_completions() {
    for (shell, word) in [("bash", "complete"), ("zsh", "#compdef ottla"), ("fish", "complete -c ottla")] {
        let script = run(&["completion", shell], b"").ok();
        assert!(script.contains(word) && script.contains("consume"), "{shell}");
    }
}

#[test]
fn what_is_not_understood_ends_with_2() {
    for (command, word) in [
        (&["topic", "sing"][..], "unrecognized subcommand"),
        (&["produce"], "--topic"),
        (&["consume", "-t", "x", "-o", "middle"], "beginning, end"),
        (&["consume", "-t", "x", "-f", "%y"], "%y"),
        (&["-b", "host:port:x", "topic", "list"], "HOST:PORT"),
        (&["produce", "-t", "x", "-l"], "no file"),
        (&["bench", "produce", "--connections", "0"], "at least 1"),
        (&["topic", "delete", "x"], "--yes"),
    ] {
        let err = run(command, b"").fails(2);
        assert!(err.contains(word), "{command:?}: {err}");
    }
}

#[test]
fn no_broker_is_told_with_advice() {
    // Port 1 is nobody's.
    let err = run(&["-b", "127.0.0.1:1", "topic", "list"], b"").fails(1);
    assert!(err.contains("cannot connect to 127.0.0.1:1") && err.contains("ottla serve"), "{err}");
}

#[test]
fn a_port_that_speaks_something_else_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Held open, so that the client must find out by what it read.
        let _ = std::io::Read::read_to_end(&mut socket, &mut Vec::new());
    });
    let err = run(&["-b", &address, "topic", "list"], b"").fails(1);
    assert!(err.contains("does this port speak Kafka's protocol"), "{err}");
    server.join().unwrap();
}

#[test]
fn dump_tells_what_it_cannot_read() {
    let folder = Folder::new();
    let path = folder.0.join("photo.jpg");
    std::fs::write(&path, "x").unwrap();
    let err = run(&["dump", path.to_str().unwrap()], b"").fails(1);
    assert!(err.contains("photo.jpg") && err.contains("by its name"), "{err}");
    let err = run(&["dump", "/no/such/file.log"], b"").fails(1);
    assert!(err.contains("/no/such/file.log"), "{err}");
}
