//! The real side under test: cores that really run, in a folder of their own.

mod cores;
mod files;
mod processes;
mod sockets;

use std::path::PathBuf;
use std::sync::mpsc;

use super::run;
use crate::reactor::{CoreMain, CoreSpec, Reactor, Share};

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ottla-real-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `main` on one core and gives back what it returns. Assertions belong outside: on a core they end the
/// process.
fn on_core<T: Send + 'static>(main: impl AsyncFnOnce(Reactor) -> T + Send + 'static) -> T {
    on_core_with(CoreSpec::default(), main)
}

fn on_core_with<T: Send + 'static>(
    spec: CoreSpec,
    main: impl AsyncFnOnce(Reactor) -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let main: CoreMain = Box::new(move |reactor| {
        Box::pin(async move {
            tell.send(main(reactor).await).unwrap();
        })
    });
    run(vec![(spec, main)]).unwrap();
    told.recv().unwrap()
}

async fn filled(reactor: &Reactor, len: usize, byte: u8) -> crate::reactor::Chunk {
    let mut chunk = reactor.pool().chunk(Share::Tail, len).await;
    chunk.append(&vec![byte; len]);
    chunk
}
