//! How the types of fields are read and written.

use bytes::Bytes;

use super::{Kind, Version, Wire};
use crate::wire::codec::{DecodeError, EncodeError, Reader, Reason, Records, Writer};
use crate::wire::error::ErrorCode;
use crate::wire::uuid::Uuid;

macro_rules! fixed {
    ($($type:ty, $kind:ident, $size:literal, $get:ident, $put:ident;)*) => {$(
        impl Wire for $type {
            const KIND: Kind = Kind::$kind;
            #[inline]
            fn smallest(_: Version) -> usize {
                $size
            }
            #[inline]
            fn fill(&mut self, r: &mut Reader, _: Version) -> Result<(), DecodeError> {
                *self = r.$get()?;
                Ok(())
            }
            #[inline]
            fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
                w.$put(*self);
                Ok(())
            }
        }
    )*};
}

fixed! {
    bool, Bool, 1, bool, put_bool;
    i8, I8, 1, i8, put_i8;
    i16, I16, 2, i16, put_i16;
    u16, U16, 2, u16, put_u16;
    i32, I32, 4, i32, put_i32;
    u32, U32, 4, u32, put_u32;
    i64, I64, 8, i64, put_i64;
    f64, F64, 8, f64, put_f64;
    Uuid, Uuid, 16, uuid, put_uuid;
}

impl Wire for ErrorCode {
    const KIND: Kind = Kind::I16;
    #[inline]
    fn smallest(_: Version) -> usize {
        2
    }
    #[inline]
    fn fill(&mut self, r: &mut Reader, _: Version) -> Result<(), DecodeError> {
        self.0 = r.i16()?;
        Ok(())
    }
    #[inline]
    fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
        w.put_i16(self.0);
        Ok(())
    }
}

/// Types whose length field says null by itself: `$fill` and `$write` take an `Option` and `fill` refuses null.
macro_rules! lengthy {
    ([$($generics:tt)*] $type:ty, $kind:expr, $short:literal,
     |$r:ident, $v:ident| $read:expr, |$w:ident, $w_v:ident, $value:ident| $write:expr) => {
        impl $($generics)* Wire for $type {
            const KIND: Kind = $kind;
            #[inline]
            fn smallest(v: Version) -> usize {
                if v.flexible { 1 } else { $short }
            }
            fn fill(&mut self, $r: &mut Reader, $v: Version) -> Result<(), DecodeError> {
                match $read {
                    Some(value) => *self = value,
                    None => return Err($r.fault(Reason::Null)),
                }
                Ok(())
            }
            fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
                Self::write_nullable(Some(self), w, v)
            }
            fn fill_nullable(
                this: &mut Option<Self>,
                $r: &mut Reader,
                $v: Version,
            ) -> Result<(), DecodeError> {
                *this = $read;
                Ok(())
            }
            fn write_nullable(
                $value: Option<&Self>,
                $w: &mut Writer,
                $w_v: Version,
            ) -> Result<(), EncodeError> {
                $write
            }
        }
    };
}

lengthy!([] String, Kind::String, 2,
    |r, v| r.nullable_string(v.flexible)?,
    |w, v, value| w.put_nullable_string(value.map(String::as_str), v.flexible));
lengthy!([] Bytes, Kind::Bytes, 4,
    |r, v| r.nullable_bytes(v.flexible)?,
    |w, v, value| w.put_nullable_bytes(value, v.flexible));
lengthy!([] Records, Kind::Records, 4,
|r, v| r.nullable_bytes(v.flexible)?.map(Records::from),
|w, v, value| {
    w.put_length(value.map(Records::len), v.flexible)?;
    value.map_or(&[][..], Records::slices).iter().for_each(|slice| w.put_shared(slice));
    Ok(())
});
lengthy!([<T: Wire>] Vec<T>, Kind::List(&T::KIND), 4,
|r, v| read_list(r, v)?,
|w, v, value| {
    w.put_length(value.map(Vec::len), v.flexible)?;
    value.map_or(&[][..], |list| list).iter().try_for_each(|element| element.write(w, v))
});

fn read_list<T: Wire>(r: &mut Reader, v: Version) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(count) = r.elements(v.flexible, T::smallest(v))? else { return Ok(None) };
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(T::default());
        list.last_mut().expect("just pushed").fill(r, v)?;
    }
    Ok(Some(list))
}

impl<T: Wire> Wire for Option<T> {
    const KIND: Kind = T::KIND;
    fn smallest(_: Version) -> usize {
        1
    }
    fn fill(&mut self, r: &mut Reader, v: Version) -> Result<(), DecodeError> {
        *self = None;
        T::fill_nullable(self, r, v)
    }
    fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), w, v)
    }
}
