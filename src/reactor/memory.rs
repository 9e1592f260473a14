//! Where the memory of a pool's chunks comes from.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ptr::NonNull;

use crate::limits::BLOCK;

/// The size and alignment of a huge page.
const HUGE_PAGE: usize = 2 << 20;
/// Chunks of this size and up to a huge page's are cut from huge pages. Smaller ones are few bytes in all, and
/// would hold a whole huge page for a quiet partition: they are cut from small pages, for the allocator takes up to
/// twice their size to align them.
const HUGE_MIN: usize = 64 << 10;

/// Where the memory of chunks comes from.
pub(super) enum Source {
    /// The allocator, and back to it.
    Allocator,
    /// Pages from which chunks are cut, else the allocator. Huge ones for the larger chunks: a page fault for each
    /// 4 KiB, the pinning of as many pages for each direct write and the misses in between would cost more than the
    /// copy itself.
    HugePages(HugePages),
}

impl Source {
    /// Zeroed memory, aligned to the block. What is larger than a huge page is mapped: it takes memory only as it is
    /// filled, which a request that announces much may never do.
    pub fn allocate(&self, capacity: usize) -> NonNull<u8> {
        if let Source::HugePages(pages) = self
            && let Some(data) = pages.allocate(capacity)
        {
            return data;
        }
        if capacity > HUGE_PAGE {
            return map(capacity).unwrap_or_else(|_| handle_alloc_error(layout(capacity)));
        }
        // SAFETY: the layout is never empty.
        let data = unsafe { alloc_zeroed(layout(capacity)) };
        NonNull::new(data).unwrap_or_else(|| handle_alloc_error(layout(capacity)))
    }

    /// # Safety
    /// `data` came from [`Source::allocate`] of this source with this capacity, and nobody reaches it any more.
    pub unsafe fn free(&self, data: NonNull<u8>, capacity: usize) {
        match self {
            // SAFETY: mapped with this length, and nobody's any more.
            _ if capacity > HUGE_PAGE => unsafe {
                libc::munmap(data.as_ptr().cast(), capacity);
            },
            // SAFETY: by the caller's word; `holds` says that it was cut from a huge page of this source.
            Source::HugePages(pages) if pages.holds(data) => unsafe { pages.free(data, capacity) },
            // SAFETY: allocated with this layout.
            _ => unsafe { dealloc(data.as_ptr(), layout(capacity)) },
        }
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, BLOCK).expect("a chunk's size is a multiple of the block")
}

/// Address space in huge pages, and in as large pieces of small ones. It is never given back: what is freed loses its
/// memory and keeps its place.
#[derive(Default)]
pub(super) struct HugePages {
    inner: RefCell<Places>,
}

#[derive(Default)]
struct Places {
    /// The places that have no memory, by their size.
    free: BTreeMap<usize, Vec<NonNull<u8>>>,
    /// Where each huge page begins.
    pages: BTreeSet<usize>,
}

impl HugePages {
    /// None where the size is not cut from huge pages, or the system has no address space left.
    fn allocate(&self, capacity: usize) -> Option<NonNull<u8>> {
        if !(BLOCK..=HUGE_PAGE).contains(&capacity) || !capacity.is_power_of_two() {
            return None;
        }
        let mut places = self.inner.borrow_mut();
        if let Some(place) = places.free.get_mut(&capacity).and_then(Vec::pop) {
            return Some(place);
        }
        let page = map_page(capacity >= HUGE_MIN).ok()?;
        places.pages.insert(page.as_ptr() as usize);
        // SAFETY: within the page that was just mapped.
        let cut = (1..HUGE_PAGE / capacity).rev().map(|i| unsafe { page.add(i * capacity) });
        places.free.entry(capacity).or_default().extend(cut);
        Some(page)
    }

    fn holds(&self, data: NonNull<u8>) -> bool {
        let page = data.as_ptr() as usize & !(HUGE_PAGE - 1);
        self.inner.borrow().pages.contains(&page)
    }

    /// # Safety
    /// Nobody reaches the memory any more.
    unsafe fn free(&self, data: NonNull<u8>, capacity: usize) {
        // SAFETY: a part of a mapping of our own that nobody uses. It reads as zeros from here on.
        let result = unsafe { libc::madvise(data.as_ptr().cast(), capacity, libc::MADV_DONTNEED) };
        assert_eq!(result, 0, "memory of a chunk could not be given back: {}", io::Error::last_os_error());
        self.inner.borrow_mut().free.entry(capacity).or_default().push(data);
    }
}

/// Maps memory of the system's own pages.
fn map(len: usize) -> io::Result<NonNull<u8>> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let mapped =
        unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags | libc::MAP_NORESERVE, -1, 0) };
    match mapped {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        mapped => Ok(NonNull::new(mapped.cast()).expect("a mapping has an address")),
    }
}

/// Maps one huge page's worth of memory, aligned to it: a huge page, where the system has them, or small ones.
fn map_page(huge: bool) -> io::Result<NonNull<u8>> {
    let len = 2 * HUGE_PAGE;
    let mapped = map(len)?.as_ptr().cast::<libc::c_void>();
    let start = mapped as usize;
    let aligned = start.next_multiple_of(HUGE_PAGE);
    // SAFETY: the parts before and behind the aligned page are of the mapping just made, and nobody's.
    unsafe {
        if aligned > start {
            libc::munmap(mapped, aligned - start);
        }
        libc::munmap((aligned + HUGE_PAGE) as *mut libc::c_void, start + len - aligned - HUGE_PAGE);
        // Advice: where it is not taken, that costs time or memory, nothing else.
        let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
        libc::madvise(aligned as *mut libc::c_void, HUGE_PAGE, advice);
    }
    Ok(NonNull::new(aligned as *mut u8).expect("a mapping does not begin at zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_read_as_zeros() {
        let source = Source::HugePages(HugePages::default());
        let mut held = Vec::new();
        for capacity in [BLOCK, HUGE_MIN, 512 << 10, 1 << 20, HUGE_PAGE, HUGE_PAGE + BLOCK] {
            for _ in 0..5 {
                let data = source.allocate(capacity);
                assert_eq!(data.as_ptr() as usize % BLOCK, 0);
                // SAFETY: memory of our own.
                let bytes = unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), capacity) };
                assert!(bytes.iter().all(|byte| *byte == 0), "{capacity}");
                bytes.fill(0xEE);
                held.push((data, capacity));
            }
        }
        let mut ranges: Vec<_> = held.iter().map(|(data, len)| (data.as_ptr() as usize, *len)).collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "no two overlap");
        let pages = |source: &Source| match source {
            Source::HugePages(pages) => pages.inner.borrow().pages.len(),
            Source::Allocator => 0,
        };
        let before = pages(&source);
        for (data, capacity) in held.drain(..) {
            // SAFETY: allocated above, and not used any more.
            unsafe { source.free(data, capacity) };
        }
        for capacity in [HUGE_MIN, 512 << 10, 1 << 20, HUGE_PAGE] {
            let data = source.allocate(capacity);
            // SAFETY: memory of our own.
            assert!(
                unsafe { std::slice::from_raw_parts(data.as_ptr(), capacity) }.iter().all(|byte| *byte == 0)
            );
        }
        assert_eq!(pages(&source), before, "what was freed is used again");
    }
}
