//! Requests that are right, and whose lists have as many elements with next to nothing in them as fit into the
//! largest frame: small on the wire, large in memory.

use std::thread;

use ottla::limits::REQUEST_ELEMENTS;
use ottla::wire::codec::Writer;
use ottla::wire::schema::{CreatableTopic, CreateTopicsRequest, Entry, Field, Kind, Role, all};

use crate::bystander::Bystander;
use crate::frames::advertised;
use crate::raw::{Raw, frame, header, request};
use crate::target::Target;

/// Bytes of one request.
const SIZE: usize = 8 << 20;
/// As many elements as are taken of one request, nearly.
const ELEMENTS: usize = REQUEST_ELEMENTS.0 - 100;
/// How many such requests are under way at once.
const AT_ONCE: usize = 6;

/// The body of a request whose list number `wide` (of those that there are, in the order of the fields) has as many
/// elements as fit; none where there are not so many lists.
fn body(entry: &Entry, version: i16, wide: usize, fill: Fill, most: usize) -> Option<Vec<u8>> {
    let flexible = version >= entry.flexible;
    let mut writer = Wide { version, flexible, fill, most, before: wide, done: false };
    let mut w = Writer::new();
    writer.structure(entry.fields, &mut w, SIZE);
    writer.done.then(|| w.into_bytes().to_vec())
}

/// What stands in the elements.
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// Nothing: empty strings, zeros.
    Nothing,
    /// The name of a topic that exists, in each.
    Topic(&'static str),
    /// The name of the broker, in each.
    Broker,
}

struct Wide {
    version: i16,
    flexible: bool,
    fill: Fill,
    /// How many elements there are at most.
    most: usize,
    /// How many lists come before the one that is to be wide.
    before: usize,
    done: bool,
}

impl Wide {
    fn structure(&mut self, fields: &[Field], w: &mut Writer, room: usize) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && (field.present)(version)) {
            if matches!(field.kind, Kind::Struct(_)) && (field.nullable)(version) {
                w.put_i8(1);
            }
            self.value(field.kind, w, room);
        }
        if self.flexible {
            w.put_uvarint(0);
        }
    }

    fn value(&mut self, kind: Kind, w: &mut Writer, room: usize) {
        match kind {
            // All that can be told.
            Kind::Bool => w.put_bool(!matches!(self.fill, Fill::Nothing)),
            // The type of a resource whose settings are asked for.
            Kind::I8 => w.put_i8(match self.fill {
                Fill::Nothing => 0,
                Fill::Topic(_) => 2,
                Fill::Broker => 4,
            }),
            Kind::I16 | Kind::U16 => w.put_i16(0),
            Kind::I32 | Kind::U32 => w.put_i32(0),
            Kind::I64 => w.put_i64(0),
            Kind::F64 => w.put_f64(0.0),
            Kind::Uuid => w.put_slice(&[0; 16]),
            Kind::String => {
                let name = match self.fill {
                    Fill::Nothing => "",
                    Fill::Topic(name) => name,
                    Fill::Broker => "1",
                };
                w.put_nullable_string(Some(name), self.flexible).unwrap();
            }
            Kind::Bytes | Kind::Records => w.put_length(Some(0), self.flexible).unwrap(),
            Kind::List(element) => self.list(*element, w, room),
            Kind::Struct(fields) => self.structure(fields, w, room),
        }
    }

    fn list(&mut self, element: Kind, w: &mut Writer, room: usize) {
        if self.done {
            return w.put_length(Some(0), self.flexible).unwrap();
        }
        if self.before > 0 {
            self.before -= 1;
            // Lists within this one may be meant.
            w.put_length(Some(1), self.flexible).unwrap();
            return self.value(element, w, room);
        }
        self.done = true;
        let mut one = Writer::new();
        self.value(element, &mut one, 0);
        let one = one.into_bytes();
        let count = (room / one.len().max(1)).min(self.most);
        w.put_length(Some(count), self.flexible).unwrap();
        (0..count).for_each(|_| w.put_slice(&one));
    }
}

/// Sends the same on several connections, each of which is answered or closed.
fn attack(target: &Target, bytes: &[u8]) {
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut raw = Raw::connect(&target.address);
                raw.send(bytes);
                // A Produce that wants no answer has none; the next request tells that it was survived.
                raw.is_served_next();
            });
        }
    });
}

#[test]
fn memory_stays_bounded_and_others_are_served() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic: &'static str = Box::leak(target.topic("many", 100).name.into_boxed_str());
    let memory = target.watch_memory();
    for (api, versions) in advertised(&target) {
        let entry = all().find(|entry| entry.role == Role::Request(api)).unwrap();
        // One version of each form.
        let first = versions[0];
        let last = versions[versions.len() - 1];
        for version in if first == last { vec![last] } else { vec![first, last] } {
            for (fill, most) in [
                // More than is taken of one request.
                (Fill::Nothing, usize::MAX),
                (Fill::Nothing, ELEMENTS),
                (Fill::Broker, ELEMENTS),
                (Fill::Topic(topic), ELEMENTS),
            ] {
                for wide in 0..8 {
                    let Some(body) = body(&entry, version, wide, fill, most) else { break };
                    println!("{api} {version} {fill:?} {most} {wide}");
                    attack(&target, &frame(&[header(api, version), body].concat()));
                    memory.check(AT_ONCE as u64);
                }
            }
        }
        bystander.goes_on();
    }
    bystander.end();
    memory.check(AT_ONCE as u64);
}

/// The longest answers to requests that are not wide: every setting of thousands of topics that are not made.
#[test]
fn thousands_of_topics_that_are_only_validated() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    let topic = |number: usize| CreatableTopic {
        name: format!("topic-{number}"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let topics = (0..4_900).map(topic).collect();
    let validate = CreateTopicsRequest { topics, timeout_ms: 60_000, validate_only: true };
    let bytes = frame(&request(&validate, 7));
    for _ in 0..3 {
        attack(&target, &bytes);
        memory.check(AT_ONCE as u64);
    }
    bystander.end();
    memory.check(AT_ONCE as u64);
}
