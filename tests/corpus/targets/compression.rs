//! The compressions, each within a bound.

use ottla::wire::batch::Compression;

use super::input::Input;
use super::memory;

/// What a decompressor may take besides its result: zstd has a window of its own.
const CODEC: usize = 10 << 20;

/// The first byte chooses the compression, whether the rest is to be compressed or decompressed, and the bound.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let compression = Compression::ALL[usize::from(how & 7) % Compression::ALL.len()];
    let rest = input.rest();
    let limit = match how >> 4 & 3 {
        0 => 0,
        1 => rest.len(),
        2 => 1000,
        _ => 1 << 20,
    };
    if how & 8 == 0 {
        let made = compression.compress(rest).expect("what is in memory can be compressed");
        assert_eq!(compression.decompress(&made, rest.len()).as_deref(), Ok(rest), "{compression}");
        if let Some(less) = rest.len().checked_sub(1) {
            assert!(compression.decompress(&made, less).is_err(), "{compression}: more than is allowed");
        }
        return;
    }
    // A vector that grows is twice as large for a moment.
    let decompressed = memory::within(4 * limit + CODEC, || compression.decompress(rest, limit));
    if let Ok(plain) = decompressed {
        assert!(plain.len() <= limit, "{compression}: {} bytes, {limit} are allowed", plain.len());
        let made = compression.compress(&plain).expect("what is in memory can be compressed");
        assert_eq!(compression.decompress(&made, limit), Ok(plain), "{compression}");
    }
}
