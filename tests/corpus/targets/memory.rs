//! How much memory a piece of code may take.

#[path = "../../support/memory.rs"]
mod counting;

/// Does `work`, which may hold at most `limit` bytes more at any time than before.
#[track_caller]
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let (result, most) = counting::peak(work);
    assert!(most <= limit, "{most} bytes were held, {limit} are allowed");
    result
}
