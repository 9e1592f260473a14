//! Messages as trees of values: written and read by the table's description of their fields, and compared.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use ottla::wire::codec::{DecodeError, Reader, Writer};
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{Field, Kind};
use ottla::wire::uuid::Uuid;

/// What a field holds.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Error(i16),
    Float(f64),
    Id(Uuid),
    /// The id that a topic has at this broker.
    IdOf(String),
    /// The fetch session that this broker has given.
    Session,
    /// The log directory that this broker has.
    OwnDir,
    Text(String),
    Bytes(Bytes),
    List(Vec<Value>),
    Struct(Vec<(&'static str, Value)>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Int(v) => write!(f, "{v}"),
            Value::Error(v) => f.write_str(ErrorCode(*v).name()),
            Value::Float(v) => write!(f, "{v}"),
            Value::Id(v) => write!(f, "{v}"),
            Value::IdOf(name) => write!(f, "id of {name}"),
            Value::Session => f.write_str("its session"),
            Value::OwnDir => f.write_str("its log directory"),
            Value::Text(v) => write!(f, "{v:?}"),
            Value::Bytes(v) if v.len() > 300 => write!(f, "{} bytes", v.len()),
            Value::Bytes(v) => v.iter().try_for_each(|b| write!(f, "{b:02x}")),
            Value::List(v) => f.debug_list().entries(v).finish(),
            Value::Struct(v) => {
                let mut all = f.debug_struct("");
                v.iter().for_each(|(name, value)| {
                    all.field(name, value);
                });
                all.finish()
            }
        }
    }
}

impl Value {
    /// The field of a structure.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Struct(fields) = self else { return None };
        fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(v)) => Some(*v),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(v)) => Some(v),
            _ => None,
        }
    }
}

/// What is another at each broker.
#[derive(Clone, Default)]
pub struct Own {
    pub ids: BTreeMap<String, Uuid>,
    pub session: i64,
    pub log_dir: String,
}

/// Which version of a message.
#[derive(Clone, Copy)]
pub struct Form {
    pub version: i16,
    pub flexible: bool,
}

/// Writes a structure for a broker.
pub fn write(fields: &'static [Field], value: &Value, form: Form, own: &Own, w: &mut Writer) {
    let present = |f: &&Field| (f.present)(form.version);
    for field in fields.iter().filter(|f| f.tag.is_none()).filter(present) {
        let value = value.get(field.name).unwrap_or_else(|| panic!("{} is missing", field.name));
        write_field(field, value, form, own, w);
    }
    if form.flexible {
        let tagged = fields.iter().filter(|f| f.tag.is_some()).filter(present);
        let tagged: Vec<_> = tagged.filter_map(|f| Some((f, value.get(f.name)?))).collect();
        w.put_uvarint(tagged.len() as u32);
        for (field, value) in tagged {
            let put = |w: &mut Writer| {
                write_field(field, value, form, own, w);
                Ok(())
            };
            w.put_tagged(field.tag.unwrap(), put).unwrap();
        }
    }
}

fn write_field(field: &Field, value: &Value, form: Form, own: &Own, w: &mut Writer) {
    if matches!(field.kind, Kind::Struct(_)) && (field.nullable)(form.version) {
        w.put_i8(if *value == Value::Null { -1 } else { 1 });
        if *value == Value::Null {
            return;
        }
    }
    write_value(&field.kind, value, form, own, w);
}

fn write_value(kind: &Kind, value: &Value, form: Form, own: &Own, w: &mut Writer) {
    match (kind, value) {
        (Kind::Bool, Value::Bool(v)) => w.put_bool(*v),
        (Kind::I8, Value::Int(v)) => w.put_i8(*v as i8),
        (Kind::I16, Value::Int(v)) => w.put_i16(*v as i16),
        (Kind::U16, Value::Int(v)) => w.put_u16(*v as u16),
        (Kind::I32, Value::Session) => w.put_i32(own.session as i32),
        (Kind::I32, Value::Int(v)) => w.put_i32(*v as i32),
        (Kind::U32, Value::Int(v)) => w.put_u32(*v as u32),
        (Kind::I64, Value::Int(v)) => w.put_i64(*v),
        (Kind::F64, Value::Float(v)) => w.put_f64(*v),
        (Kind::Uuid, Value::Id(v)) => w.put_uuid(*v),
        (Kind::Uuid, Value::IdOf(name)) => w.put_uuid(own.ids.get(name).copied().unwrap_or(nobody(name))),
        (Kind::String, Value::OwnDir) => w.put_nullable_string(Some(&own.log_dir), form.flexible).unwrap(),
        (Kind::String, Value::Text(v)) => w.put_nullable_string(Some(v), form.flexible).unwrap(),
        (Kind::String, Value::Null) => w.put_nullable_string(None, form.flexible).unwrap(),
        (Kind::Bytes | Kind::Records, Value::Bytes(v)) => {
            w.put_nullable_bytes(Some(v), form.flexible).unwrap()
        }
        (Kind::Bytes | Kind::Records | Kind::List(_), Value::Null) => {
            w.put_length(None, form.flexible).unwrap()
        }
        (Kind::List(kind), Value::List(values)) => {
            w.put_length(Some(values.len()), form.flexible).unwrap();
            values.iter().for_each(|value| write_value(kind, value, form, own, w));
        }
        (Kind::Struct(fields), value) => write(fields, value, form, own, w),
        (kind, value) => unreachable!("{value:?} is no {kind:?}"),
    }
}

/// The id of a topic that there is not.
fn nobody(name: &str) -> Uuid {
    let mut id = [0x77; 16];
    id[0] = name.as_bytes()[name.len() - 1];
    Uuid(id)
}

/// Reads a structure. Tagged fields that were not sent are left out.
pub fn read(fields: &'static [Field], form: Form, r: &mut Reader) -> Result<Value, DecodeError> {
    let mut values = Vec::new();
    for field in fields.iter().filter(|f| f.tag.is_none() && (f.present)(form.version)) {
        values.push((field.name, read_field(field, form, r)?));
    }
    if form.flexible {
        r.tags(&mut |tag, r| {
            let known = fields.iter().find(|f| f.tag == Some(tag) && (f.present)(form.version));
            let Some(field) = known else { return Ok(false) };
            values.push((field.name, read_field(field, form, r)?));
            Ok(true)
        })?;
    }
    Ok(Value::Struct(values))
}

fn read_field(field: &Field, form: Form, r: &mut Reader) -> Result<Value, DecodeError> {
    if matches!(field.kind, Kind::Struct(_)) && (field.nullable)(form.version) && r.i8()? < 0 {
        return Ok(Value::Null);
    }
    let value = read_value(&field.kind, form, r)?;
    Ok(match value {
        Value::Int(code) if field.name.contains("error_code") => Value::Error(code as i16),
        value => value,
    })
}

fn read_value(kind: &Kind, form: Form, r: &mut Reader) -> Result<Value, DecodeError> {
    Ok(match kind {
        Kind::Bool => Value::Bool(r.bool()?),
        Kind::I8 => Value::Int(r.i8()?.into()),
        Kind::I16 => Value::Int(r.i16()?.into()),
        Kind::U16 => Value::Int(r.u16()?.into()),
        Kind::I32 => Value::Int(r.i32()?.into()),
        Kind::U32 => Value::Int(r.u32()?.into()),
        Kind::I64 => Value::Int(r.i64()?),
        Kind::F64 => Value::Float(r.f64()?),
        Kind::Uuid => Value::Id(r.uuid()?),
        Kind::String => r.nullable_string(form.flexible)?.map_or(Value::Null, Value::Text),
        Kind::Bytes | Kind::Records => r.nullable_bytes(form.flexible)?.map_or(Value::Null, Value::Bytes),
        Kind::List(kind) => match r.elements(form.flexible, 1)? {
            None => Value::Null,
            Some(count) => {
                Value::List((0..count).map(|_| read_value(kind, form, r)).collect::<Result<_, _>>()?)
            }
        },
        Kind::Struct(fields) => read(fields, form, r)?,
    })
}

/// Where two answers differ: the names of the fields down to it, and what is there.
#[derive(Debug)]
pub struct Difference {
    pub path: String,
    pub ours: String,
    pub stock: String,
}

/// All places in which two values differ.
pub fn compare(path: &str, ours: &Value, stock: &Value, found: &mut Vec<Difference>) {
    match (ours, stock) {
        (Value::Struct(a), Value::Struct(b)) => {
            for (name, value) in a {
                compare(&format!("{path}.{name}"), value, stock.get(name).unwrap_or(&Value::Null), found);
            }
            for (name, value) in b.iter().filter(|(name, _)| ours.get(name).is_none()) {
                compare(&format!("{path}.{name}"), &Value::Null, value, found);
            }
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| compare(path, a, b, found));
        }
        // Lists of what there is are compared element by element.
        (Value::List(a), Value::List(b))
            if [".api_keys", ".supported_features", ".finalized_features"].contains(&path) =>
        {
            let same =
                |a: &Value, b: &Value| (a.get("api_key"), a.get("name")) == (b.get("api_key"), b.get("name"));
            for ours in a {
                let stock = b.iter().find(|stock| same(ours, stock));
                compare(path, ours, stock.unwrap_or(&Value::Null), found);
            }
            for stock in b.iter().filter(|stock| !a.iter().any(|ours| same(ours, stock))) {
                compare(path, &Value::Null, stock, found);
            }
        }
        _ if ours == stock => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            ours: format!("{ours:?}"),
            stock: format!("{stock:?}"),
        }),
    }
}
