//! The disk punishes shortcuts, and nobody else.
