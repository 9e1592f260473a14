//! The macros that make structures and their codecs from rows; the rows' grammar is described in the module above.

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($value:expr) => {
        $value
    };
}

macro_rules! fill_field {
    ($field:expr, $r:ident, $v:ident, []) => {
        $crate::wire::schema::Wire::fill($field, $r, $v)?
    };
    ($field:expr, $r:ident, $v:ident, [$null:expr]) => {
        $crate::wire::schema::fill_option($field, $r, $v, $crate::wire::schema::within($null, $v))?
    };
}

macro_rules! write_field {
    ($field:expr, $w:ident, $v:ident, $name:expr, []) => {
        $crate::wire::schema::Wire::write($field, $w, $v)
    };
    ($field:expr, $w:ident, $v:ident, $name:expr, [$null:expr]) => {
        $crate::wire::schema::write_option($field, $w, $v, $crate::wire::schema::within($null, $v), $name)
    };
}

/// Its second list is left out where the first is empty.
macro_rules! if_any {
    ([] $($then:tt)*) => {};
    ([$($any:tt)+] $($then:tt)*) => { $($then)* };
}
macro_rules! if_none {
    ([] $($then:tt)*) => { $($then)* };
    ([$($any:tt)+] $($then:tt)*) => {};
}
macro_rules! option_of {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}
macro_rules! tag_of {
    ($tag:literal) => {
        $tag
    };
}

/// A structure and how it is read and written.
macro_rules! structure {
    ($(#[$meta:meta])* $name:ident {$(
        $field:ident: $type:ty, $versions:expr
        $(, null $null:expr)? $(, default $default:expr)? $(, tag $tag:literal)? $(, else $ignore:ident)?;
    )*}) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {$(
            #[doc = concat!(
                "In versions `", stringify!($versions), "`"
                $(, ", null in `", stringify!($null), "`")? $(, ", default `", stringify!($default), "`")?
                $(, ", tag ", stringify!($tag))?, "."
            )]
            pub $field: $type,
        )*}

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: default_of!($($default)?),)* }
            }
        }

        #[allow(unused_variables, unused_mut, clippy::bool_comparison)]
        impl $crate::wire::schema::Wire for $name {
            const KIND: $crate::wire::schema::Kind = $crate::wire::schema::Kind::Struct(&[
                $($crate::wire::schema::Field {
                    name: stringify!($field),
                    kind: <$type as $crate::wire::schema::Wire>::KIND,
                    present: |v| $crate::wire::schema::has($versions, v),
                    nullable: |v| false $(|| $crate::wire::schema::has($null, v))?,
                    tag: option_of!($($tag)?),
                    default: concat!($(stringify!($default))?),
                },)*
            ]);

            fn smallest(v: $crate::wire::schema::Version) -> usize {
                let mut size = usize::from(v.flexible);
                $(if_none!([$($tag)?]
                    if $crate::wire::schema::within($versions, v) {
                        size += <$type as $crate::wire::schema::Wire>::smallest(v);
                    }
                );)*
                size
            }

            #[inline(never)]
            fn fill(
                &mut self,
                r: &mut $crate::wire::codec::Reader,
                v: $crate::wire::schema::Version,
            ) -> Result<(), $crate::wire::codec::DecodeError> {
                let mut fill = || {
                    $(if_none!([$($tag)?]
                        if $crate::wire::schema::within($versions, v) {
                            fill_field!(&mut self.$field, r, v, [$($null)?]);
                        }
                    );)*
                    if v.flexible {
                        r.tags(&mut |tag, r| {
                            $(if_any!([$($tag)?]
                                if tag_of!($($tag)?) == tag && $crate::wire::schema::within($versions, v) {
                                    fill_field!(&mut self.$field, r, v, [$($null)?]);
                                    return Ok(true);
                                }
                            );)*
                            Ok(false)
                        })?;
                    }
                    Ok(())
                };
                fill().map_err(|e: $crate::wire::codec::DecodeError| e.within(stringify!($name)))
            }

            #[inline(never)]
            fn write(
                &self,
                w: &mut $crate::wire::codec::Writer,
                v: $crate::wire::schema::Version,
            ) -> Result<(), $crate::wire::codec::EncodeError> {
                let mut tags = 0;
                $(
                    if $crate::wire::schema::within($versions, v) {
                        if_none!([$($tag)?]
                            write_field!(&self.$field, w, v,
                                concat!(stringify!($name), ".", stringify!($field)), [$($null)?])?;
                        );
                        if_any!([$($tag)?]
                            if $crate::wire::schema::differs(&self.$field, default_of!($($default)?)) {
                                tags += 1;
                            }
                        );
                    } else {
                        if_none!([$($ignore)?]
                            if $crate::wire::schema::differs(&self.$field, default_of!($($default)?)) {
                                return Err($crate::wire::schema::not_in_version(
                                    concat!(stringify!($name), ".", stringify!($field)), v));
                            }
                        );
                    }
                )*
                if v.flexible {
                    w.put_uvarint(tags);
                    $(if_any!([$($tag)?]
                        if $crate::wire::schema::within($versions, v)
                            && $crate::wire::schema::differs(&self.$field, default_of!($($default)?))
                        {
                            w.put_tagged(tag_of!($($tag)?), |w| {
                                write_field!(&self.$field, w, v,
                                    concat!(stringify!($name), ".", stringify!($field)), [$($null)?])
                            })?;
                        }
                    );)*
                }
                Ok(())
            }
        }
    };
}

/// What a row's kind adds to its structure.
macro_rules! role {
    (part $name:ident ($of:ident)) => {};
    (request $name:ident ($api:ident -> $response:ident)) => {
        role!(of_api $name $api);
        impl $crate::wire::schema::Request for $name {
            const API: $crate::wire::api::ApiKey = $crate::wire::api::ApiKey::$api;
            type Response = $response;
        }
    };
    (response $name:ident ($api:ident)) => {
        role!(of_api $name $api);
        impl $crate::wire::schema::Response for $name {
            const API: $crate::wire::api::ApiKey = $crate::wire::api::ApiKey::$api;
        }
    };
    (data $name:ident (versions $versions:expr, flexible $flexible:literal ..)) => {
        role!(message $name, $versions, $flexible);
    };
    (record $name:ident (key $key:literal, versions $versions:expr, flexible $flexible:literal ..)) => {
        role!(message $name, $versions, $flexible);
        impl $crate::wire::schema::Record for $name {
            const KEY: i16 = $key;
        }
    };
    (of_api $name:ident $api:ident) => {
        role!(
            message $name,
            $crate::wire::api::ApiKey::$api.versions(),
            $crate::wire::api::ApiKey::$api.flexible_from()
        );
    };
    (message $name:ident, $versions:expr, $flexible:expr) => {
        impl $crate::wire::schema::Message for $name {
            const NAME: &'static str = stringify!($name);
            fn versions() -> std::ops::RangeInclusive<i16> {
                $versions
            }
            fn flexible_from() -> i16 {
                $flexible
            }
        }
        impl $name {
            /// Reads a message of this version. Bytes after its end are left in the reader.
            #[inline]
            pub fn decode(
                r: &mut $crate::wire::codec::Reader,
                version: i16,
            ) -> Result<Self, $crate::wire::codec::DecodeError> {
                $crate::wire::schema::Message::decode(r, version)
            }

            /// Writes the message in this version.
            #[inline]
            pub fn encode(
                &self,
                w: &mut $crate::wire::codec::Writer,
                version: i16,
            ) -> Result<(), $crate::wire::codec::EncodeError> {
                $crate::wire::schema::Message::encode(self, w, version)
            }
        }
    };
}

/// A row's place in the list of all messages; parts have none.
macro_rules! entry {
    (part $name:ident $head:tt) => {
        None
    };
    (request $name:ident ($api:ident -> $response:ident)) => {
        entry!($name, Request($crate::wire::api::ApiKey::$api))
    };
    (response $name:ident ($api:ident)) => {
        entry!($name, Response($crate::wire::api::ApiKey::$api))
    };
    (record $name:ident (key $key:literal, $($rest:tt)*)) => {
        entry!($name, Record($key))
    };
    (data $name:ident $head:tt) => {
        entry!($name, Data)
    };
    ($name:ident, $($role:tt)*) => {
        Some($crate::wire::schema::entry::<$name>($crate::wire::schema::Role::$($role)*))
    };
}

/// The table's rows.
macro_rules! messages {
    ($($(#[$meta:meta])* $kind:ident $name:ident $head:tt { $($fields:tt)* })*) => {
        $(
            structure! { $(#[$meta])* #[doc = row_doc!($kind $head)] $name { $($fields)* } }
            role! { $kind $name $head }
        )*

        /// The messages of this file.
        #[inline]
        pub(super) fn entries() -> impl Iterator<Item = $crate::wire::schema::Entry> {
            [$(entry!($kind $name $head)),*].into_iter().flatten()
        }
    };
}

/// What the documentation of a row's structure says after the row's own words.
macro_rules! row_doc {
    (part ($of:ident)) => {
        concat!("\n\nA part of [`", stringify!($of), "`].")
    };
    ($kind:ident $head:tt) => {
        ""
    };
}
