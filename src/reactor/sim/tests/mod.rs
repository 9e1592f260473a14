//! The twin held to its word.

mod disk;
mod honesty;
mod network;
mod schedule;

use std::cell::RefCell;
use std::rc::Rc;

/// What tasks leave for the test to see.
type Shared<T> = Rc<RefCell<T>>;

fn shared<T: Default>() -> Shared<T> {
    Rc::default()
}
