//! The macros that turn one declaration into a type and its [`Json`](crate::fastjson::Json) form.

/// Declares bodies; see the documentation of [`crate::body`].
macro_rules! json_body {
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $json:literal $(or $default:expr)?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        const _: () = assert!($crate::body::declare::is_alphabetical(&[$($json),*]));

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: json_body!(@default $($default)?),)* }
            }
        }

        impl $crate::fastjson::Json for $name {
            fn write(&self, out: &mut $crate::fastjson::JsonWriter) {
                out.object(|members| {
                    $(members.property($json, &self.$field);)*
                });
            }

            fn read(
                value: &$crate::fastjson::Value,
            ) -> Result<Self, $crate::fastjson::JsonReadError> {
                let $crate::fastjson::Value::Object(_) = value else {
                    return Err($crate::fastjson::JsonReadError::expected("object"));
                };
                Ok($name {
                    $($field: match value.get($json) {
                        Some(value) => $crate::fastjson::Json::read(value)
                            .map_err(|error: $crate::fastjson::JsonReadError| error.within($json))?,
                        None => json_body!(@default $($default)?),
                    },)*
                })
            }
        }
    )*};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

/// Declares enumerations that are written by name and read by name or number.
macro_rules! json_enum {
    ($(
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $json:literal,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* #[doc = concat!("`", $json, "`")] $variant,)*
        }

        impl $name {
            const ALL: &'static [(Self, &'static str)] = &[$(($name::$variant, $json),)*];

            /// The name that peers use.
            #[must_use]
            pub fn name(self) -> &'static str {
                Self::ALL[self as usize].1
            }

            /// The value with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
            }
        }

        impl $crate::fastjson::Json for $name {
            fn write(&self, out: &mut $crate::fastjson::JsonWriter) {
                out.string(self.name());
            }

            fn read(
                value: &$crate::fastjson::Value,
            ) -> Result<Self, $crate::fastjson::JsonReadError> {
                let by_number = |number: i64| {
                    let index = usize::try_from(number).ok()?;
                    Self::ALL.get(index).map(|(value, _)| *value)
                };
                let by_name = value.as_str().and_then(Self::from_name);
                by_name
                    .or_else(|| value.as_i64().and_then(by_number))
                    .ok_or($crate::fastjson::JsonReadError::expected(stringify!($name)))
            }
        }
    )*};
}

/// Whether names ascend in the order of their bytes, as fastjson writes properties.
pub(super) const fn is_alphabetical(names: &[&str]) -> bool {
    let mut index = 1;
    while index < names.len() {
        if !is_less(names[index - 1].as_bytes(), names[index].as_bytes()) {
            return false;
        }
        index += 1;
    }
    true
}

const fn is_less(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}
