use std::io;
use std::path::Path;

use super::*;

#[test]
fn what_was_written_is_read() {
    let folder = Folder::new("written");
    let path = folder.0.join("a.log");
    let (size, read) = on_core(async move |r: Reactor| -> io::Result<(u64, Vec<u8>)> {
        let file = r.disk().open(&path, true).await?;
        file.write_at(filled(&r, 8192, 7).await.freeze(), 4096).await?;
        file.flush().await?;
        file.truncate(10_000).await?;
        let read = file.read_at(r.pool().chunk(Share::Reads, 1 << 20).await, 4096).await?;
        Ok((file.size().await?, read.to_vec()))
    })
    .unwrap();
    assert_eq!(size, 10_000);
    assert_eq!(read, vec![7; 10_000 - 4096]);
}

#[test]
fn operations_begin_when_called_and_outlive_their_futures() {
    let folder = Folder::new("outlive");
    let path = folder.0.join("a.log");
    let seen = path.clone();
    on_core(async move |r: Reactor| {
        let file = r.disk().open(&path, true).await.unwrap();
        for i in 0..200u64 {
            drop(file.write_at(filled(&r, 4096, i as u8).await.freeze(), i * 4096));
        }
    });
    let bytes = std::fs::read(seen).unwrap();
    assert_eq!(bytes.len(), 200 * 4096);
    assert!(bytes.chunks(4096).enumerate().all(|(i, block)| block.iter().all(|b| *b == i as u8)));
}

#[test]
fn more_operations_than_the_ring_holds_lose_nothing() {
    let folder = Folder::new("full");
    let path = folder.0.join("a.log");
    let spec = CoreSpec { ring_depth: 8, ..CoreSpec::default() };
    let failed = on_core_with(spec, async move |r: Reactor| {
        let file = r.disk().open(&path, true).await.unwrap();
        let mut under_way = Vec::new();
        for i in 0..1000u64 {
            under_way.push(file.write_at(filled(&r, 4096, i as u8).await.freeze(), i * 4096));
        }
        let mut failed = 0;
        for write in under_way {
            failed += usize::from(write.await.is_err());
        }
        let whole = file.read_at(r.pool().chunk(Share::Reads, 4096 * 1000).await, 0).await.unwrap();
        failed + whole.chunks(4096).enumerate().filter(|(i, b)| b.len() != 4096 || b[17] != *i as u8).count()
    });
    assert_eq!(failed, 0);
}

#[test]
fn an_error_says_what_failed_where() {
    let folder = Folder::new("error");
    let path = folder.0.join("no-such-folder/a.log");
    let error = on_core(async move |r: Reactor| r.disk().open(&path, true).await.err().unwrap());
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("no-such-folder/a.log"), "{error}");
}

#[test]
fn a_folder_is_examined_locked_and_listed() {
    let folder = Folder::new("disk");
    let dir = folder.0.clone();
    let (report, second, names, content) = on_core(async move |r: Reactor| {
        let disk = r.disk();
        let report = disk.examine(&dir).await.unwrap();
        disk.lock(&dir.join(".lock")).await.unwrap();
        let second = disk.lock(&dir.join(".lock")).await.unwrap_err();
        disk.create_dirs(&dir.join("b/c")).await.unwrap();
        disk.replace(&dir.join("a"), b"first".to_vec()).await.unwrap();
        disk.replace(&dir.join("a"), b"second".to_vec()).await.unwrap();
        disk.rename(&dir.join("b/c"), &dir.join("d")).await.unwrap();
        disk.remove_dirs(&dir.join("b")).await.unwrap();
        disk.sync_dir(&dir).await.unwrap();
        let names: Vec<String> = disk.list(&dir).await.unwrap().into_iter().map(|e| e.name).collect();
        (report, second, names, disk.read(&dir.join("a")).await.unwrap())
    });
    assert_eq!(names, [".lock", "a", "d"]);
    assert_eq!(content, b"second");
    assert!(report.free > 0 && report.alignment > 0 && !report.file_system.is_empty(), "{report:?}");
    let pid = std::process::id().to_string();
    assert!(second.to_string().contains(&pid), "{second}");
    assert!(second.to_string().contains(Path::new(&folder.0).to_str().unwrap()), "{second}");
}

#[test]
fn a_replacement_does_not_go_on_with_what_an_attempt_before_it_left() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("replace");
    let path = folder.0.join("a");
    let left = folder.0.join("a.tmp");
    std::fs::write(&left, [b'x'; 10_000]).unwrap();
    let held = std::fs::File::open(&left).unwrap();
    let target = path.clone();
    on_core(async move |r: Reactor| r.disk().replace(&target, b"new".to_vec()).await).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert!(!left.exists());
    assert_ne!(held.metadata().unwrap().ino(), std::fs::metadata(&path).unwrap().ino());
}

#[test]
fn a_failed_operation_names_the_file_and_the_place() {
    let error = on_core(async move |r: Reactor| {
        let file = r.disk().open(Path::new("/dev/full"), false).await.unwrap();
        file.write_at(filled(&r, 4096, 1).await.freeze(), 8192).await.unwrap_err()
    });
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("write of 4096 bytes at 8192 of /dev/full"), "{error}");
}

#[test]
fn allocated_space_reads_as_zeros_and_files_grow_and_shrink() {
    let folder = Folder::new("allocate");
    let path = folder.0.join("a.log");
    let (sizes, zeros) = on_core(async move |r: Reactor| -> io::Result<(Vec<u64>, bool)> {
        let file = r.disk().open(&path, true).await?;
        let mut sizes = Vec::new();
        file.allocate(0, 1 << 20).await?;
        sizes.push(file.size().await?);
        file.write_at(filled(&r, 4096, 9).await.freeze(), 0).await?;
        file.truncate(4096).await?;
        sizes.push(file.size().await?);
        file.truncate(8192).await?;
        file.flush().await?;
        sizes.push(file.size().await?);
        let read = file.read_at(r.pool().chunk(Share::Reads, 1 << 20).await, 0).await?;
        sizes.push(read.len() as u64);
        Ok((sizes, read[4096..].iter().all(|b| *b == 0) && read[..4096].iter().all(|b| *b == 9)))
    })
    .unwrap();
    assert_eq!(sizes, [1 << 20, 4096, 8192, 8192]);
    assert!(zeros);
}

#[test]
fn a_lock_that_kafka_holds_is_respected() {
    let folder = Folder::new("kafka-lock");
    let path = folder.0.join(".lock");
    // Kafka's lock is a process's own; a process never shuts itself out by it, so another one has to hold it.
    let script = "import fcntl,sys,time\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()";
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut holder) = python else { return };
    let mut line = String::new();
    let stdout = holder.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "held\n");
    let error = on_core(async move |r: Reactor| r.disk().lock(&path).await.unwrap_err());
    assert!(error.to_string().contains(&format!("process {}", holder.id())), "{error}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn a_lock_is_let_go_when_its_core_ends() {
    let folder = Folder::new("relock");
    for _ in 0..2 {
        let path = folder.0.join(".lock");
        on_core(async move |r: Reactor| r.disk().lock(&path).await).unwrap();
    }
}
